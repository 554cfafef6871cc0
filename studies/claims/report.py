"""Report of claims: ledger with verdicts, tables and forest plots from committed results."""

from typing import Any, ClassVar

import pandas as pd

from studies import grid, results
from studies.claims import forest, ledger
from studies.claims.claim import Claim
from studies.claims.verdict import LEVEL, equivalence_power
from studies.figures.sentences import Drawn
from studies.hidden_cost import claims as hidden_cost
from studies.parameters import Parameters
from studies.qprompt import claims as qprompt
from studies.report import Report
from studies.vpns import claims as vpns
from vpstudy.models import architectures

# Each module has CLAIMS, their PAPER, the STAGE whose results test them, ASSUMED_DEVIATION (of a replicate, for the
# expected power) and `evidence(parameters, results)`, by architecture.
STUDIES = {"hidden_cost": hidden_cost, "vpns": vpns, "qprompt": qprompt}
MOST = 4  # findings per table cell


class ClaimsReport(Report):
    """Verdicts on every claim at one scale."""

    study = "claims"
    figures: ClassVar = {f"forest_{study}": None for study in STUDIES}
    tables: ClassVar = {
        "expected_power": lambda report: report.expected_power(),
        "claims": lambda report: report.verdicts(),
        "architectures": lambda report: report.architectures(),
        "findings": lambda report: report.findings("findings"),
        "beside": lambda report: report.findings("beside"),
    }

    def __init__(self, parameters: Parameters, save: bool):
        super().__init__(parameters, save)
        self.entries: list[ledger.Entry] = []
        for study, module in STUDIES.items():
            evidence: dict[str, Any] = {}
            if cells := grid.cells(parameters, module.STAGE):
                read = results.read(cells)
                for note in read.notes():
                    print(note)
                if read.missing:
                    print(f"the claims of {study} are judged once these results are there")
                else:
                    evidence = module.evidence(parameters, read)
            self.entries += ledger.assess(study, module.CLAIMS, *evidence.values())

    def expected_power(self) -> pd.DataFrame:
        """Power to show "no difference" for one finding if nothing changed; known before any run."""
        rows = []
        for study, module in STUDIES.items():
            if backbones := grid.axes(self.parameters, module.STAGE)["backbone"]:
                seeds = getattr(self.parameters, study).settings.seeds
                claims = [claim for claim in module.CLAIMS if _asks_for_no_difference(claim)]
                counted = sum(not claim.by_design for claim in module.CLAIMS)
                rows.append(_power(claims, counted, module.ASSUMED_DEVIATION, backbones, seeds))
        return pd.DataFrame(rows)

    def verdicts(self) -> pd.DataFrame:
        """One row per claim; with `save`, also writes the ledger."""
        if self.save:
            ledger.write(self.parameters.scale, self.entries)
        return pd.DataFrame(map(_line, self.entries))

    def architectures(self) -> pd.DataFrame:
        """The same tests on the scale's other architectures, below the verdict on the first."""
        rows = [
            {"claim": entry["id"], **{key: _line(entry | one)[key] for key in ARCHITECTURE}}
            for entry in self.entries
            if entry["other_architectures"]
            for one in [entry, *entry["other_architectures"]]
        ]
        return pd.DataFrame(rows)

    def findings(self, kind: str) -> pd.DataFrame:
        """Effects pooled and by target: of the "findings", which decide, or of those "beside" them."""
        rows = [
            {"claim": entry["id"], "on": found["label"], "pooled [95 %]": _interval(found)}
            | {target: _interval(effect) for target, effect in found["targets"].items()}
            for entry in self.entries
            for found in entry[kind]
        ]
        return pd.DataFrame(rows).fillna("—")

    def drawn(self, name: str) -> dict[str, Drawn | None]:
        """The forest plot of a study, if it has findings."""
        study = name.removeprefix("forest_")
        entries = [entry for entry in self.entries if entry["study"] == study]
        if not any(entry["findings"] for entry in entries):
            return {}
        verdicts = pd.Series([entry["verdict"] for entry in entries]).value_counts()
        said = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
        return {name: Drawn(forest.draw(entries, STUDIES[study].PAPER), f"Of {len(entries)} claims: {said}.")}


ARCHITECTURE = ("backbone", "measured on", "effect [95 %]", "verdict", "why")  # columns of `_line`


def _line(entry: ledger.Entry) -> dict[str, Any]:
    return {
        "study": entry["study"],
        "claim": entry["id"],
        "verdict": entry["verdict"],
        "statement": entry["statement"],
        "backbone": entry["backbone"],
        "estimand": entry["estimand"],
        "measured on": _listed([found["label"] for found in entry["findings"]]),
        "effect [95 %]": _listed(list(map(_interval, entry["findings"]))),
        "smallest of interest": entry["smallest_effect"],
        "p (Holm)": "—" if entry["p_holm"] is None else f"{entry['p_holm']:.3g}",
        "why": entry["reason"],
    }


def _listed(texts: list[str]) -> str:
    """The texts in one table cell, or their number if they are many."""
    return f"{len(texts)} findings, below" if len(texts) > MOST else "; ".join(texts) or "—"


def _interval(effect: dict) -> str:
    if effect["effect"] is None:
        return "no comparable runs"
    if effect["low"] is None:
        return f"{effect['effect']:+.3f} (one replicate)"
    return f"{effect['effect']:+.3f} [{effect['low']:+.3f}, {effect['high']:+.3f}]"


def _asks_for_no_difference(claim: Claim) -> bool:
    """Equivalence or non-inferiority of accuracy or ECE, whose deviation can be assumed."""
    margin = claim.test.kind in ("equivalence", "non-inferiority")
    return margin and claim.unit in ("accuracy", "debiased ECE") and not claim.by_design


def _power(
    claims: list[Claim], counted: int, deviation: float, backbones: list[str], seeds: list[int]
) -> dict[str, Any]:
    """Power of two one-sided tests at 5 % and at Holm's hardest step; claims of a study share a margin."""
    names = [architectures.parse(name)[0] for name in backbones]
    sources, margin = names.count(names[0]), claims[0].test.smallest  # claims are tested on the first architecture
    n = sources if sources > 1 else len(seeds)
    return {
        "claim": ", ".join(claim.id for claim in claims),
        "margin": f"{margin:g} {claims[0].unit}",
        "assumed deviation of a replicate": deviation,
        "replicates": n,
        "which are": "source checkpoints" if sources > 1 else "seeds of one source checkpoint",
        "expected power": f"{equivalence_power(n, deviation, margin):.2f}",
        "and at the hardest step of Holm": f"{equivalence_power(n, deviation, margin, level=LEVEL / counted):.2f}",
    }
