"""Tables of the study: numbers as readers see them, written as CSV and Markdown."""

from pathlib import Path

import pandas as pd

from studies.figures import compressions, style
from studies.statistics import summarise
from vpstudy import atomic

METRICS = {
    "accuracy": "accuracy",
    "ece_debiased": "ECE (debiased)",
    "ece": "ECE",
    "ece_equal_mass": "ECE (equal mass)",
    "nll": "NLL (nats)",
    "brier": "Brier",
}


CALIBRATION = {
    "ece_equal_mass": "ECE (equal mass)",
    "ece_classwise": "ECE (class-wise)",
    "overconfidence": "over",
    "underconfidence": "under",
    "brier_reliability": "Brier: reliability",
    "brier_resolution": "resolution",
    "brier_uncertainty": "uncertainty",
    "temperature": "temperature",
    "ece_debiased_scaled": "ECE after it (debiased)",
    "nll_scaled": "NLL after it (nats)",
}


def backbones_table(frame: pd.DataFrame) -> pd.DataFrame:
    """What compression makes of a backbone: actual sparsity, size, accuracy and ECE on the source task."""
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
            "upstream ECE (debiased)": frame["upstream_ece_debiased"].map("{:.3f}".format),
        }
    ).reset_index(drop=True)


def results_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Every metric of every cell as "mean ± half the 95 % interval" over seeds, and the number of seeds.

    A single seed has no ±; a cell in which every seed diverged shows a dash.
    """
    by = ["backbone", "target", "method", "budget", "compression"]
    summaries = {metric: summarise(frame, by, metric) for metric in METRICS}
    first = summaries["accuracy"]
    return pd.DataFrame(
        {
            "backbone": first["backbone"],
            "target": first["target"],
            "method": first["method"].map(lambda name: style.method(name).label),
            "budget": first["budget"].map(style.budget_label),
            "compression": first["compression"].map(compressions.label),
            **{words: [mean_text(row) for row in summaries[m].itertuples()] for m, words in METRICS.items()},
            "seeds": [seeds_text(row) for row in first.itertuples()],
        }
    )


def calibration_table(frame: pd.DataFrame) -> pd.DataFrame:
    """The other measures of calibration, of visual prompts at the largest budget: means over seeds."""
    budget = style.budgets(frame["budget"])[-1]
    runs = frame[(frame["method"] == "visual_prompting") & (frame["budget"] == budget)]
    by = ["backbone", "target", "compression"]
    summaries = {metric: summarise(runs, by, metric) for metric in CALIBRATION}
    first = next(iter(summaries.values()))
    return pd.DataFrame(
        {
            "backbone": first["backbone"],
            "target": first["target"],
            "compression": first["compression"].map(compressions.label),
            **{
                words: [f"{row.mean:.3f}" if row.n else "—" for row in summaries[m].itertuples()]
                for m, words in CALIBRATION.items()
            },
        }
    )


def mean_text(row) -> str:
    """A row of `summarise` as "mean ± half the interval"; a dash where no run finished."""
    if not row.n:
        return "—"
    return f"{row.mean:.3f}" if row.n == 1 else f"{row.mean:.3f} ± {row.high - row.mean:.3f}"


def interval_text(row, digits: int = 3) -> str:
    """An effect (mean, low, high) as "+0.010 [-0.002, +0.022]"; alone where one replicate gives no interval."""
    interval = "" if pd.isna(row.low) else f" [{row.low:+.{digits}f}, {row.high:+.{digits}f}]"
    return f"{row.mean:+.{digits}f}{interval}"


def seeds_text(row) -> str:
    """How many runs stand behind a row of `summarise`."""
    seeds = row.n + row.n_diverged
    return f"{row.n_diverged} of {seeds} diverged" if row.n_diverged else str(seeds)


def save(table: pd.DataFrame, name: str, folder: Path) -> None:
    """Write `<folder>/<name>.csv` and `.md`, each whole or not at all; equal tables give equal bytes."""
    atomic.write_text(Path(folder) / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
    text = table.to_markdown(index=False, disable_numparse=True)
    atomic.write_text(Path(folder) / f"{name}.md", f"{text}\n")
