"""The notebook of claims: committed results in; a ledger with verdicts, tables and a forest plot out."""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import pandas as pd

from studies import grid, results
from studies.claims import ledger
from studies.claims.claim import Claim, Evidence
from studies.claims.verdict import LEVEL, equivalence_power
from studies.figures import forest
from studies.hidden_cost import claims as hidden_cost
from studies.hidden_cost.claims import ECE
from studies.parameters import Parameters
from studies.qprompt import claims as qprompt
from studies.qprompt import multimodal_report as qprompt_multimodal
from studies.qprompt import protocols_report as qprompt_protocols
from studies.report import Report
from studies.vpns import claims as vpns
from vpstudy.models import architectures

PAPERS = {"hidden_cost": "arXiv 2308.14969", "vpns": "arXiv 2312.01397", "qprompt": "arXiv 2407.10704"}
MOST = 4  # findings in one cell of a table
OTHER_SCALE = "default"  # whose verdicts other scales show beside their own


class ClaimsReport(Report):
    """Every claim, judged on the results of one scale."""

    study = "claims"

    def __init__(self, parameters: Parameters, save: bool):
        super().__init__(parameters, save)
        self.records: list[ledger.Record] = []

    def expected_power(self) -> pd.DataFrame:
        """How likely equivalence of one finding would be shown if nothing changed; known before any run."""
        of = self.parameters
        designs = (
            (hidden_cost, ["H4"], "debiased ECE", ECE, of.backbones, of.hidden_cost.settings.seeds),
            (vpns, _equivalent(vpns.CLAIMS), "accuracy", vpns.SAME, of.vpns.axes.backbones, of.vpns.settings.seeds),
            (qprompt, ["Q7"], "H", qprompt.SAME, of.qprompt.axes.backbones, of.qprompt.settings.seeds),
        )
        return pd.DataFrame([_power(*design) for design in designs if design[4]])  # of those that have backbones

    def judge(self) -> pd.DataFrame:
        """Judge every claim; a line each."""
        self.records = [
            *self._judged("hidden_cost", hidden_cost.CLAIMS, self._hidden_cost()),
            *self._judged("vpns", vpns.CLAIMS, self._vpns()),
            *self._judged("qprompt", qprompt.CLAIMS, self._qprompt()),
        ]
        others = {}
        if self.parameters.scale != OTHER_SCALE:
            others = {record["id"]: record["verdict"] for record in ledger.read(OTHER_SCALE)}
        table = pd.DataFrame(
            {
                "study": record["study"],
                "claim": record["id"],
                "backbone": record["backbone"],
                "statement": record["statement"],
                "estimand": record["estimand"],
                "measured on": _listed([f["label"] for f in record["findings"]]),
                "effect [95 %]": _listed(list(map(_interval, record["findings"]))),
                "smallest of interest": record["smallest_effect"],
                "p (Holm)": "—" if record["p_holm"] is None else f"{record['p_holm']:.3g}",
                "verdict": record["verdict"],
                "why": record["reason"],
            }
            | ({f"verdict at {OTHER_SCALE}": others.get(record["id"], "—")} if others else {})
            for record in self.records
        )
        if self.save:
            ledger.write(self.parameters.scale, self.records)
        return self.table("claims", table)

    def _judged(self, study: str, claims: Sequence[Claim], evidence: dict[str, Any]) -> list[ledger.Record]:
        """Records on the first architecture that has the cells of a claim, each with those on the others that do."""
        if not evidence:
            return [record | {"elsewhere": []} for record in ledger.not_run(study, claims)]
        first = ledger.judge(study, claims, *evidence.values())
        alone = [ledger.judge(study, claims, of_one) for of_one in evidence.values()]
        elsewhere = ("backbone", "findings", "p_holm", "verdict", "reason")
        return [
            record
            | {
                "elsewhere": [
                    {key: other[key] for key in elsewhere}
                    for other in others
                    if other["findings"] and other["backbone"] != record["backbone"]
                ]
            }
            for record, *others in zip(first, *alone, strict=True)
        ]

    def elsewhere(self) -> pd.DataFrame:
        """The same tests on the other architectures of this scale, beside the verdict on the first."""
        table = pd.DataFrame(
            {
                "claim": record["id"],
                "backbone": one["backbone"],
                "measured on": _listed([f["label"] for f in one["findings"]]),
                "effect [95 %]": _listed(list(map(_interval, one["findings"]))),
                "verdict": one["verdict"],
                "why": one["reason"],
            }
            for record in self.records
            if record["elsewhere"]
            for one in [record, *record["elsewhere"]]
        )
        return self.table("architectures", table)

    def details(self, beside: bool) -> pd.DataFrame:
        """The findings that decide, or those beside them, in all and by target."""
        rows = []
        for record in self.records:
            for found in record["beside" if beside else "findings"]:
                row = {"claim": record["id"], "on": found["label"], "pooled [95 %]": _interval(found)}
                rows.append(row | {target: _interval(effect) for target, effect in found["targets"].items()})
        table = pd.DataFrame(rows).fillna("—")
        return self.table("beside" if beside else "findings", table)

    def forest(self, study: str) -> None:
        """Show the forest plot of one study, and keep it where the pipeline runs the notebook."""
        figure = forest.draw([record for record in self.records if record["study"] == study], PAPERS[study])
        self.show(f"forest_{study}", figure)

    def _vpns(self) -> dict[str, vpns.VpnsEvidence]:
        """By architecture."""
        if not (cells := grid.cells(self.parameters, "prune_with_prompts")):
            return {}
        read = results.read(cells)
        for note in read.notes():
            print(note)
        return {name: vpns.VpnsEvidence(runs) for name, runs in read.frame.groupby("backbone", sort=False)}

    def _qprompt(self) -> dict[str, qprompt.QpromptEvidence]:
        """By architecture."""
        if not (cells := grid.cells(self.parameters, "prompt")):
            return {}
        read = results.read(cells)
        for note in read.notes():
            print(note)
        few_shot = qprompt.few_shot(qprompt_protocols.read(self.parameters))
        found = [frame for frame in (read.frame, few_shot, qprompt_multimodal.read(self.parameters)) if len(frame)]
        return qprompt.gathered(pd.concat(found) if found else read.frame, results.read_records(cells))

    def _hidden_cost(self) -> dict[str, Evidence]:
        """By architecture."""
        if not (cells := grid.cells(self.parameters, "transfer")):
            return {}
        read = results.read(cells)
        for note in read.notes():
            print(note)
        records = results.read_records(cells)
        facts = {dict(cell.axes)["target"]: record["facts"] for cell, record in records.items()}
        compressed = results.read(grid.cells(self.parameters, "compress")).frame
        backbones = compressed.rename(columns={"accuracy": "upstream_accuracy"})
        return {
            name: Evidence(
                runs,
                backbones[backbones["backbone"] == name],
                {target: fact["pictures"]["test"] for target, fact in facts.items()},
                {target: fact["classes"] for target, fact in facts.items()},
                next(iter(facts.values()))["source_classes"],
            )
            for name, runs in read.frame.groupby("backbone", sort=False)
        }


def _equivalent(claims: Sequence[Claim]) -> list[str]:
    return [claim.id for claim in claims if claim.test.kind == "equivalence" and not claim.by_design]


def _power(
    study: ModuleType, claims: list[str], metric: str, margin: float, backbones: list[str], seeds: list[int]
) -> dict[str, Any]:
    names = [architectures.read(name)[0] for name in backbones]
    sources = names.count(names[0])  # of the architecture that claims are judged on
    n, deviation = sources if sources > 1 else len(seeds), study.ASSUMED_DEVIATION
    hardest = LEVEL / len([claim for claim in study.CLAIMS if not claim.by_design])
    return {
        "claim": ", ".join(claims),
        "margin": f"{margin:g} {metric}",
        "assumed deviation of a replicate": deviation,
        "replicates": n,
        "which are": "source checkpoints" if sources > 1 else "seeds of one source checkpoint",
        "expected power": f"{equivalence_power(n, deviation, margin):.2f}",
        "and at the hardest step of Holm": f"{equivalence_power(n, deviation, margin, level=hardest):.2f}",
    }


def _listed(texts: list[str]) -> str:
    """The texts in one cell of a table; beyond a few, the table of findings has them."""
    if len(texts) > MOST:
        return f"{len(texts)} findings, below"
    return "; ".join(texts) or "—"


def _interval(effect: dict) -> str:
    if effect["effect"] is None:
        return "no comparable runs"
    if effect["low"] is None:
        return f"{effect['effect']:+.3f} (one replicate)"
    return f"{effect['effect']:+.3f} [{effect['low']:+.3f}, {effect['high']:+.3f}]"
