"""The notebook of claims: committed results in; a ledger with verdicts, tables and a forest plot out."""

import pandas as pd
from IPython.display import display
from matplotlib.figure import Figure

from vpstudy import architectures, grid, paths, results
from vpstudy.claims import hidden_cost, ledger
from vpstudy.claims.evidence import Evidence
from vpstudy.claims.hidden_cost import ASSUMED_DEVIATION, ECE
from vpstudy.claims.verdict import LEVEL, equivalence_power
from vpstudy.figures import forest, style, tables
from vpstudy.parameters.base import ParameterError
from vpstudy.parameters.study import load

OTHER_SCALE = "default"  # whose verdicts other scales show beside their own


class ClaimsLedger:
    """Every claim, judged on the results of one scale."""

    def __init__(self, scale: str, save: bool):
        self.parameters = load()
        if self.parameters.scale != scale:
            raise ParameterError(
                f"scale: {scale!r} was asked for, but params.yaml holds {self.parameters.scale!r}; "
                f"`python -m vpstudy scale {scale}` puts it in place"
            )
        self.scale, self.save, self.folder = scale, save, paths.FIGURES / scale / "claims"
        self.records: list[ledger.Record] = []

    def expected_power(self) -> pd.DataFrame:
        """How likely equivalence would be shown if quantization changed nothing; known before any run."""
        seeds = len(self.parameters.hidden_cost.seeds)
        names = [architectures.read(name) for name in self.parameters.backbones]
        sources = len([name for name in names if name[0] == names[0][0]])  # of the one that claims are judged on
        n = sources if sources > 1 else seeds
        return pd.DataFrame(
            {
                "claim": ["H4"],
                "margin (debiased ECE)": [ECE],
                "assumed deviation of a replicate": [ASSUMED_DEVIATION],
                "replicates": [n],
                "which are": ["source checkpoints" if sources > 1 else "seeds of one source checkpoint"],
                "expected power": [f"{equivalence_power(n, ASSUMED_DEVIATION, ECE):.2f}"],
                "and at the hardest step of Holm": [
                    f"{equivalence_power(n, ASSUMED_DEVIATION, ECE, level=LEVEL / len(hidden_cost.CLAIMS)):.2f}"
                ],
            }
        )

    def judge(self) -> pd.DataFrame:
        """Judge every claim; a line each."""
        evidence = self._hidden_cost()
        first, *rest = (
            [{"backbone": name, **record} for record in ledger.judge("hidden_cost", hidden_cost.CLAIMS, of_one)]
            for name, of_one in evidence.items()
        )
        elsewhere = ("backbone", "findings", "p_holm", "verdict", "reason")
        self.records = [
            {**record, "elsewhere": [{key: other[key] for key in elsewhere} for other in others]}
            for record, *others in zip(first, *rest, strict=True)
        ]
        others = {}
        if self.scale != OTHER_SCALE:
            others = {record["id"]: record["verdict"] for record in ledger.read(OTHER_SCALE)}
        table = pd.DataFrame(
            {
                "claim": record["id"],
                "statement": record["statement"],
                "estimand": record["estimand"],
                "measured on": "; ".join(f["label"] for f in record["findings"]) or "—",
                "effect [95 %]": "; ".join(map(_interval, record["findings"])) or "—",
                "smallest of interest": record["smallest_effect"],
                "p (Holm)": "—" if record["p_holm"] is None else f"{record['p_holm']:.3g}",
                "verdict": record["verdict"],
                "why": record["reason"],
            }
            | ({f"verdict at {OTHER_SCALE}": others.get(record["id"], "—")} if others else {})
            for record in self.records
        )
        if self.save:
            ledger.write(self.scale, self.records)
            tables.save(table, "claims", self.folder)
        return table

    def elsewhere(self) -> pd.DataFrame:
        """The same tests on the other architectures of this scale, beside the verdict on the first."""
        table = pd.DataFrame(
            {
                "claim": record["id"],
                "backbone": one["backbone"],
                "measured on": "; ".join(f["label"] for f in one["findings"]) or "—",
                "effect [95 %]": "; ".join(map(_interval, one["findings"])) or "—",
                "verdict": one["verdict"],
                "why": one["reason"],
            }
            for record in self.records
            if record["elsewhere"]
            for one in [record, *record["elsewhere"]]
        )
        if self.save:
            tables.save(table, "architectures", self.folder)
        return table

    def details(self, beside: bool) -> pd.DataFrame:
        """The findings that decide, or those beside them, in all and by target."""
        rows = []
        for record in self.records:
            for found in record["beside" if beside else "findings"]:
                row = {"claim": record["id"], "on": found["label"], "pooled [95 %]": _interval(found)}
                rows.append(row | {target: _interval(effect) for target, effect in found["targets"].items()})
        table = pd.DataFrame(rows).fillna("—")
        if self.save:
            tables.save(table, "beside" if beside else "findings", self.folder)
        return table

    def forest(self) -> Figure:
        """Show the forest plot, and keep it where the pipeline runs the notebook."""
        figure = forest.draw(self.records)
        if self.save:
            style.save(figure, "forest", self.folder)
        display(figure)

    def _hidden_cost(self) -> dict[str, Evidence]:
        """By architecture."""
        cells = grid.cells(self.parameters, "transfer")
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


def _interval(effect: dict) -> str:
    if effect["low"] is None:
        return f"{effect['effect']:+.3f} (one replicate)"
    return f"{effect['effect']:+.3f} [{effect['low']:+.3f}, {effect['high']:+.3f}]"
