"""Tables of hidden_cost, from the report."""

from itertools import combinations

import pandas as pd

from studies.figures import compressions, style, tables
from studies.hidden_cost import dose_figure, losses
from vpstudy.compression.registry import parse


def backbones(report) -> pd.DataFrame:
    """Sparsity, size, and accuracy and ECE on the source task, one row per compressed backbone."""
    frame = report.backbones
    return pd.DataFrame(
        {
            "backbone": frame["backbone"],
            "source checkpoint": frame["source_seed"].astype(str),
            "compression": frame["compression"].map(compressions.label),
            "sparsity, nominal (%)": (100 * frame["sparsity_nominal"]).map("{:.1f}".format),
            "sparsity, actual (%)": (100 * frame["sparsity"]).map("{:.2f}".format),
            "zero weights (%)": (100 * frame["zero_weights"]).map("{:.2f}".format),
            "bits of a weight": frame["bits"].astype(str),
            "parameters": frame["parameters"].map("{:,}".format),
            "MACs (millions)": (frame["macs"] / 1e6).map("{:.2f}".format),
            "size (kB)": (frame["bytes"] / 1000).map("{:,.0f}".format),
            "upstream accuracy": frame["upstream_accuracy"].map("{:.3f}".format),
            "upstream ECE (debiased)": _calibration(frame),
        }
    ).reset_index(drop=True)


def _calibration(frame: pd.DataFrame) -> pd.Series:
    """Backbones from elsewhere have none: their upstream accuracy is agreement with dense."""
    values = frame.get("upstream_ece_debiased", pd.Series(float("nan"), frame.index))
    return values.map(lambda value: "—" if pd.isna(value) else f"{value:.3f}")


def results(report) -> pd.DataFrame:
    """Every metric of every arm, the legacy quantity of the paper's code included."""

    def label(row) -> dict[str, str]:
        words = {"backbone": row.backbone, "target": row.target, "method": style.method(row.method).label}
        return words | {"budget": style.budget_label(row.budget), "compression": compressions.label(row.compression)}

    by = ["backbone", "target", "method", "budget", "compression"]
    return tables.results(report.runs, by, label, [name for name in tables.METRICS if name in report.runs])


def legacy(report) -> pd.DataFrame:
    """How often the legacy quantity ranks two runs on one target in the other order than ECE does, by method."""
    runs, rows = report.runs[report.runs["status"] == "ok"], []
    for method, of_method in runs.groupby("method", sort=False):
        pairs = [
            (one[0] - other[0]) * (one[1] - other[1]) < 0
            for _, mine in of_method.groupby(["backbone", "target"])
            for one, other in combinations(mine[["ece", "legacy_ece"]].to_numpy(float), 2)
        ]
        share = f"{100 * sum(pairs) / len(pairs):.0f} %" if pairs else "—"
        rows.append({"method": style.method(method).label, "pairs of runs": len(pairs), "in opposite order": share})
    return pd.DataFrame(rows)


def tuning(report) -> pd.DataFrame:
    """How often validation chose each learning rate, by method."""
    cells = (content for content in report.contents if not parse(content["cell"]["compression"]).screens)
    tuned = (arm for content in cells for arm in content["facts"]["tuning"])
    return tables.chosen(((style.method(arm["method"]).label, arm["tried"]) for arm in tuned), "learning_rate")


TABLES = {
    "dose_response_lines": dose_figure.table,
    "where_losses_begin": losses.table,
    "backbones": backbones,
    "results": results,
    "legacy": legacy,
    "tuning": tuning,
}
