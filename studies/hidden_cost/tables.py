"""Text tables of the hidden_cost study, from tidy frames of results."""

from typing import Any

import pandas as pd

from studies.figures import compressions, style
from studies.figures.tables import mean_text, seeds_text
from studies.statistics import against_dense, summarise

METRICS = {
    "accuracy": "accuracy",
    "ece_debiased": "ECE (debiased)",
    "ece": "ECE",
    "ece_equal_mass": "ECE (equal mass)",
    "ece_classwise": "ECE (class-wise)",
    "overconfidence": "over",
    "underconfidence": "under",
    "nll": "NLL (nats)",
    "brier": "Brier",
    "brier_reliability": "Brier: reliability",
    "brier_resolution": "resolution",
    "brier_uncertainty": "uncertainty",
    "temperature": "temperature",
    "ece_debiased_scaled": "ECE after it (debiased)",
    "nll_scaled": "NLL after it (nats)",
}


def backbones(frame: pd.DataFrame) -> pd.DataFrame:
    """Sparsity, size, and accuracy and ECE on the source task, one row per compressed backbone."""
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
    return values.map(lambda value: "–" if pd.isna(value) else f"{value:.3f}")


def results(frame: pd.DataFrame) -> pd.DataFrame:
    """Every metric of every arm by `mean_text`, and the number of seeds."""
    by = ["backbone", "target", "method", "budget", "compression"]
    summaries = {words: summarise(frame, by, metric) for metric, words in METRICS.items()}
    first = summaries["accuracy"]
    texts = {words: [mean_text(row) for row in summary.itertuples()] for words, summary in summaries.items()}
    words = {
        "backbone": first["backbone"],
        "target": first["target"],
        "method": first["method"].map(lambda name: style.method(name).label),
        "budget": first["budget"].map(style.budget_label),
        "compression": first["compression"].map(compressions.label),
    }
    return pd.DataFrame(words).assign(**texts, seeds=[seeds_text(row) for row in first.itertuples()])


def changes(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean change against dense over targets and budgets, and the number of cells whose interval excludes 0."""
    rows = []
    for metric in ("accuracy", "ece_debiased"):
        by = ["backbone", "compression", "method", "target", "budget"]
        cells = summarise(against_dense(frame, metric), by, "difference")
        for (backbone, compression, method), group in cells.groupby(by[:3], sort=False):
            row = {"metric": METRICS[metric], "backbone": backbone, "compression": compressions.label(compression)}
            row |= {"method": style.method(method).label, "mean change": f"{group['mean'].mean():+.3f}"}
            row |= {"cells below 0": (group["high"] < 0).sum(), "cells above 0": (group["low"] > 0).sum()}
            rows.append(row | {"cells": len(group)})
    return pd.DataFrame(rows)


def tuning(tuned: list[dict[str, Any]]) -> pd.DataFrame:
    """How often validation chose each learning rate, by method; `tuned` holds the tuning facts of all cells."""
    tried = [
        {"method": style.method(arm["method"]).label, "learning rate": one["learning_rate"], "chosen": one is best}
        for arm in tuned
        for best in [max(arm["tried"], key=lambda o: (o["validation_accuracy"], -o["validation_nll"]))]
        for one in arm["tried"]
    ]
    chosen = pd.DataFrame(tried).groupby(["method", "learning rate"], sort=False)["chosen"]
    return chosen.agg(arms="size", chosen="sum").reset_index()
