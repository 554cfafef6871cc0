"""Tables of the hidden_cost study, from tidy frames of results: text as readers see it."""

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
NETWORKS = {  # of the integer path
    "dense": "dense, in floats",
    "integers": "its linear layers in integers",
    "emulated": "the same integers, emulated",
    "simulated": "this compression, simulated",
}


def backbones(frame: pd.DataFrame) -> pd.DataFrame:
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


def results(frame: pd.DataFrame) -> pd.DataFrame:
    """Every metric as "mean ± half the 95 % interval" over seeds, and the number of seeds.

    A single seed has no ±; a dash stands where every seed diverged.
    """
    by = ["backbone", "target", "method", "budget", "compression"]
    summaries = {words: summarise(frame, by, metric) for metric, words in METRICS.items()}
    first = summaries["accuracy"]
    texts = {words: [mean_text(row) for row in summary.itertuples()] for words, summary in summaries.items()}
    return _readable(first).assign(**texts, seeds=[seeds_text(row) for row in first.itertuples()])


def calibration(frame: pd.DataFrame) -> pd.DataFrame:
    """The other measures of calibration, of visual prompts at the largest budget: means over seeds."""
    budget = style.budgets(frame["budget"])[-1]
    runs = frame[(frame["method"] == "visual_prompting") & (frame["budget"] == budget)]
    summaries = {words: summarise(runs, ["backbone", "target", "compression"], m) for m, words in CALIBRATION.items()}
    texts = {
        words: [f"{row.mean:.3f}" if row.n else "—" for row in summary.itertuples()]
        for words, summary in summaries.items()
    }
    return _readable(next(iter(summaries.values()))).assign(**texts)


def changes(frame: pd.DataFrame) -> pd.DataFrame:
    """The change against dense: its mean over targets and budgets, and in how many of those cells it is clear."""
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
    """How often validation chose each learning rate, by method; `tuned` are the facts of all cells."""
    tried = [
        {"method": style.method(arm["method"]).label, "learning rate": one["learning_rate"], "chosen": one is best}
        for arm in tuned
        for best in [max(arm["tried"], key=lambda o: (o["validation_accuracy"], -o["validation_nll"]))]
        for one in arm["tried"]
    ]
    chosen = pd.DataFrame(tried).groupby(["method", "learning rate"], sort=False)["chosen"]
    return chosen.agg(arms="size", chosen="sum").reset_index()


def integers(facts: dict[str, Any]) -> pd.DataFrame:
    """A row for each network of `CompressCell.measure_integers`: what ran in real integers, and what stands for it.

    Agreement is with the integers. Emulation and simulation run in floats: their own size means nothing.
    """
    rows = []
    for network, words in NETWORKS.items():
        agreement = facts["agreement"].get(network, {})
        numbers = {
            "upstream accuracy": (1, facts["accuracy"][network], "{:.4f}"),
            "upstream ECE (debiased)": (1, facts["ece_debiased"][network], "{:.4f}"),
            "predictions as the integers' (%)": (100, agreement.get("same_predictions"), "{:.2f}"),
            "logit difference, mean": (1, agreement.get("mean_difference"), "{:.4f}"),
            "logit difference, largest": (1, agreement.get("largest_difference"), "{:.4f}"),
            "stored (kB)": (1 / 1000, facts["bytes"].get(network), "{:,.0f}"),
        }
        texts = {
            k: "—" if value is None else form.format(factor * value) for k, (factor, value, form) in numbers.items()
        }
        rows.append({"network": words} | texts)
    return pd.DataFrame(rows)


def _readable(summary: pd.DataFrame) -> pd.DataFrame:
    """The columns that say which runs a row of a summary stands for, in words."""
    words = {
        "backbone": str,
        "target": str,
        "method": lambda name: style.method(name).label,
        "budget": style.budget_label,
        "compression": compressions.label,
    }
    return pd.DataFrame({column: summary[column].map(say) for column, say in words.items() if column in summary})
