"""Tables of across, from the report."""

import pandas as pd

from studies.across.effects import ARM
from studies.across.figures import labels
from studies.across.labels import label
from studies.claims.claim import NETWORK
from studies.figures import compressions, tables

SHOWN = ("accuracy", "ece_debiased", "ece", "nll", "brier")


def effects(report) -> pd.DataFrame:
    """Every effect of every comparison, with its words."""
    table = report.effects
    readable = {
        "backbone": table["backbone"],
        "comparison": table["comparison"],
        "metric": table["metric"],
        "compression": table["compression"].map(compressions.label),
        "prompt": labels(table),
        "change [95 %]": [tables.interval_text(row, 4) for row in table.itertuples()],
        "replicates": table["replicates"],
        "says": table["words"],
    }
    return pd.DataFrame(readable)


def tuning(report) -> pd.DataFrame:
    """How often validation chose each learning rate, by bits in training."""
    tuned = ((f"{one['bits']} bits", one["tried"]) for c in report.contents for one in c["facts"]["tuning"])
    return tables.chosen(tuned, "learning_rate")


def results(report) -> pd.DataFrame:
    """Every metric of every arm, stored bytes, and at how many targets the borders weigh as much as the backbone."""

    def words(row) -> dict[str, str]:
        arm = {"backbone": row.backbone, "target": row.target, "compression": compressions.label(row.compression)}
        return arm | {"prompt": label(row.arm, row.codebook, row.bits)}

    runs, by = report.runs.assign(backbone_bytes=_backbone_bytes(report)), ["backbone", "target", "compression", *ARM]
    table = tables.results(runs, by, words, SHOWN)
    groups = runs.groupby(by, sort=False, dropna=False)
    rms, border = groups["rms"].mean().to_numpy(), groups["prompt_bytes"].first().to_numpy()
    whole = groups["backbone_bytes"].mean().to_numpy()
    table["error of values (RMS)"] = ["—" if pd.isna(value) else f"{value:.4f}" for value in rms]
    table["border (B)"] = [f"{value:,.0f}" if value > 0 else "—" for value in border]
    table["backbone (B)"] = [f"{value:,.0f}" for value in whole]
    ratios = zip(whole, border, strict=True)
    table["targets that weigh as much"] = [f"{one / other:,.0f}" if other > 0 else "—" for one, other in ratios]
    return table


def _backbone_bytes(report) -> list[int]:
    """Stored bytes of each run's backbone."""
    of = [*NETWORK, "compression"]
    stored = {tuple(c["cell"][name] for name in of): c["facts"]["backbone_bytes"] for c in report.contents}
    return [stored[key] for key in report.runs[of].itertuples(index=False, name=None)]


TABLES = {"effects": effects, "tuning": tuning, "results": results}
