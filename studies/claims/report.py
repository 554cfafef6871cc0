"""Report of claims: ledger with verdicts, tables and forest plots from committed results."""

import math
from dataclasses import replace
from typing import Any, ClassVar

import pandas as pd

from studies import checkpoints, grid, results
from studies.claims import forest, ledger, rules
from studies.claims.conclusions import conclusions, effect_text, findable, power_text, published_text, stability
from studies.claims.verdict import LEVEL, NOT_RUN, ONE_NETWORK, power
from studies.figures.sentences import Drawn
from studies.hidden_cost import claims as hidden_cost
from studies.parameters import Parameters
from studies.qprompt import claims as qprompt
from studies.report import Report
from studies.statistics import has_blocks
from studies.vpns import claims as vpns

# Each module has CLAIMS, their PAPER, the STAGE whose results test them, DEVIATIONS (between networks, by unit, assumed
# for the expected power) and `evidence(parameters, results)`. All claims are one family for Holm's correction.
STUDIES = {"hidden_cost": hidden_cost, "vpns": vpns, "qprompt": qprompt}
MOST = 4  # findings per table cell


class ClaimsReport(Report):
    """Verdicts on every claim at one scale."""

    study = "claims"
    figures: ClassVar = {f"forest_{study}": None for study in STUDIES}
    tables: ClassVar = {
        "expected_power": lambda report: report.expected_power(),
        "claims": lambda report: report.verdicts(),
        "tests": lambda report: report.tests(),
        "findings": lambda report: report.findings("findings"),
        "networks": lambda report: report.findings("findings", by="networks"),
        "beside": lambda report: report.findings("beside"),
    }

    def __init__(self, parameters: Parameters, save: bool):
        super().__init__(parameters, save)
        studies: dict[str, Any] = {}
        for study, module in STUDIES.items():
            read, evidence = results.read(grid.cells(parameters, module.STAGE)), None
            for note in read.notes():
                print(note)
            if read.missing:
                print(f"the claims of {study} are judged once these results are there")
            elif read.cells:
                evidence = module.evidence(parameters, read)
                for note in getattr(evidence, "notes", ()):
                    print(note)
                if evidence and not has_blocks(evidence.runs):
                    print(f"{study}: results hold no blocks of test pictures, so intervals leave these out")
            studies[study] = module.CLAIMS, evidence
        self.entries = ledger.assess(studies)

    def expected_power(self) -> pd.DataFrame:
        """Power before a run of one finding of each claim: at its smallest effect of interest, at the published one."""
        rows, counted = [], sum(len(module.CLAIMS) for module in STUDIES.values())
        for module in STUDIES.values():
            backbones = grid.axes(self.parameters, module.STAGE)["backbone"]
            networks = sum(checkpoints.number(self.parameters, name) for name in backbones)
            for claim in module.CLAIMS if networks else ():
                deviation = module.DEVIATIONS[claim.unit]
                known = deviation / math.sqrt(networks), networks - 1
                size = min(claim.sizes, default=0.0)
                larger = replace(claim.test, smallest=size) if size >= claim.test.smallest else None
                row = {"claim": claim.id, "test": claim.test.kind, "effect": f"{claim.test.smallest:g} {claim.unit}"}
                row |= {"assumed deviation of networks": deviation, "networks": networks}
                row |= {"expected power": f"{power(claim.test, *known):.2f}"}
                row |= {"at the hardest step of Holm": f"{power(claim.test, *known, LEVEL / counted):.2f}"}
                row |= {"published effect, the least": f"{size:g}" if size else "—"}
                rows.append(row | {"power at that": f"{power(larger, *known):.2f}" if larger else "—"})
        return pd.DataFrame(rows)

    def verdicts(self) -> pd.DataFrame:
        """One row per claim that was run; with `save`, also writes the ledger."""
        if self.save:
            ledger.write(self.parameters.scale, self.entries)
        if alone := sum(entry["verdict"] == ONE_NETWORK for entry in self.entries):
            print(f"{alone} claims have runs of one network only: what is said of it holds for no other.")
        frozen = ", ".join(f"{study} {rules.digest(study)}" for study in STUDIES)
        print(f"Digests of the code that holds the claims' rules: {frozen}.")
        if left := [entry["id"] for entry in self.entries if entry["verdict"] == NOT_RUN]:
            print(f"Not run at this scale: {', '.join(left)}.")
        table = pd.DataFrame(_verdict(entry) for entry in self.entries if entry["verdict"] != NOT_RUN)
        scale = self.parameters.scale
        for study, again in ledger.again(scale).items():
            print(stability(self.entries, study, again))
        if len(table) and (second := ledger.second_verdicts(scale)):
            table.insert(3, "run again", table["claim"].map(second).fillna("—"))
        return table

    def tests(self) -> pd.DataFrame:
        """How each claim that was run is judged: a row per claim."""
        return pd.DataFrame(_test(entry) for entry in self.entries if entry["verdict"] != NOT_RUN)

    def findings(self, kind: str, by: str = "targets") -> pd.DataFrame:
        """Effects pooled and by "targets" or "networks": of the "findings", which decide, or of those "beside" them."""
        rows = [
            {"claim": entry["id"], "on": found["label"], "pooled [95 %]": effect_text(found)}
            | {name: effect_text(effect) for name, effect in found[by].items()}
            for entry in self.entries
            for found in entry[kind]
        ]
        return pd.DataFrame(rows).fillna("—")

    def conclusions(self) -> str:
        """What the verdicts of each study amount to."""
        of = {study: [entry for entry in self.entries if entry["study"] == study] for study in STUDIES}
        return "\n\n".join(f"{STUDIES[study].PAPER}:\n\n{conclusions(entries)}" for study, entries in of.items())

    def drawn(self, name: str) -> dict[str, Drawn | None]:
        """The forest plot of a study, if a claim of it was read."""
        study = name.removeprefix("forest_")
        entries = [entry for entry in self.entries if entry["study"] == study]
        if not any(entry["reading"] for entry in entries):
            return {}
        verdicts = pd.Series([entry["verdict"] for entry in entries]).value_counts()
        said = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
        return {name: Drawn(forest.draw(entries, STUDIES[study].PAPER), f"Of {len(entries)} claims: {said}.")}


def _verdict(entry: ledger.Entry) -> dict[str, Any]:
    return {
        "claim": entry["id"],
        "statement": entry["statement"],
        "verdict": entry["verdict"],
        "effect [95 %]": _listed(list(map(effect_text, entry["findings"]))),
        "networks": entry["networks"],
        "power": power_text(entry),
        "could this study have found it?": findable(entry),
    }


def _test(entry: ledger.Entry) -> dict[str, Any]:
    return {
        "claim": entry["id"],
        "why": entry["reason"],
        "estimand": entry["estimand"],
        "measured on": _listed([found["label"] for found in entry["findings"]]),
        "test": entry["test"],
        "smallest of interest": f"{entry['smallest_effect']:g} {entry['unit']}",
        "published effect": published_text(entry),
        "p for (Holm)": _p(entry["p_holm"]),
        "p against (Holm)": _p(entry["p_against_holm"]),
        "rule set after a run": entry["later_rule"] or "—",
    }


def _p(value: float | None) -> str:
    return "—" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _listed(texts: list[str]) -> str:
    """The texts in one table cell, or their number if they are many."""
    return f"{len(texts)} findings, below" if len(texts) > MOST else "; ".join(texts) or "—"
