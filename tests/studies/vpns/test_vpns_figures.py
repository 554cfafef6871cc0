"""Figures of the vpns study: every arm is drawn, runs that diverged are told, axes hold what is drawn."""

import numpy as np
import pandas as pd
import pytest

from studies.claims import forest
from studies.figures import dots
from studies.vpns import figures as pruning
from studies.vpns.tables import sizes


def table(**columns) -> pd.DataFrame:
    frame = pd.DataFrame(
        [
            {"row": row, "panel": panel, "group": group, "mean": 0.5, "low": 0.4, "high": 0.6, "n": 3, "n_diverged": 0}
            for row in ("OMP", "VPNs")
            for panel in ("digits", "textures")
            for group in ("80 %", "95 %")
        ]
    )
    return frame.assign(**columns)


def texts(figure) -> str:
    words = [text.get_text() for axis in figure.axes for text in axis.texts]
    words += [label.get_text() for axis in figure.axes for label in (*axis.get_yticklabels(), *axis.get_xticklabels())]
    words += [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    return "\n".join([*words, *(text.get_text() for text in figure.texts)])


def test_dots_draw_each_row_in_the_order_asked_for():
    figure = dots.draw(table(), "accuracy", "Title", "Note.", {"digits": 0.7}, "dense", order=["VPNs", "OMP", "gone"])
    axis = figure.axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["VPNs", "OMP"]
    assert len(axis.containers) == 4
    assert {"80 %", "95 %", "dense"} <= set(texts(figure).split("\n"))


def test_intervals_are_cut_where_values_end():
    wide = table().assign(low=-2.0, high=3.0)
    low, high = dots.draw(wide, "accuracy", "Title", "Note.", bounds=(0, 1)).axes[0].get_xlim()
    assert (low, high) == pytest.approx((-0.03, 1.03))
    assert dots.draw(wide, "change", "Title", "Note.").axes[0].get_xlim()[1] > 3


def test_huge_effects_do_not_squeeze_the_others():
    effect = {"label": "f", "effect": 0.5, "low": 0.4, "high": 0.6, "p": 0.0, "targets": {}}
    record = {"id": "V1", "study": "vpns", "unit": "accuracy", "findings": [effect], "verdict": "reproduced"}
    figure = forest.draw([record | {"direction": 1, "smallest_effect": 0.005}], "a paper")
    assert figure.axes[0].get_xscale() == "symlog"
    assert "100" in [label.get_text() for label in figure.axes[0].get_xticklabels()]
    figure = forest.draw([record | {"direction": 1, "smallest_effect": 0.1}], "a paper")
    assert figure.axes[0].get_xscale() == "linear"


def test_dots_tell_of_runs_that_diverged():
    lost = table()
    lost.loc[0, ["mean", "low", "high", "n", "n_diverged"]] = [np.nan, np.nan, np.nan, 0, 3]
    figure = dots.draw(lost, "accuracy", "Title", "Note.")
    assert "✕ 3 of 3" in texts(figure)
    assert len(figure.axes[0].containers) == 3


def test_layers_name_the_empty_ones():
    left = {"OMP": {"a.weight": 0.0, "b.weight": 0.25}, "VPNs": {"a.weight": 0.004, "b.weight": 1.0}}
    figure = pruning.layers(left, "T")
    shown = texts(figure).split("\n")
    assert {"0", "25", "0.4", "100", "OMP", "VPNs", "a", "b"} <= set(shown)
    assert pruning.cell_layers({"0.9": {"a.weight": 0.0, "b.weight": 0.5}}).axes[0].get_ylim()[0] == 0


def rows(pruners, sparsities=(0.8,)) -> pd.DataFrame:
    bins = {"count": [3, 7], "confidence": [0.2, 0.8], "accuracy": [0.3, 0.7]}
    return pd.DataFrame(
        [
            {
                "backbone": "cnn",
                "source_seed": 0,
                "target": "digits",
                "pruner": pruner,
                "arm": "main",
                "view": "bare",
                "sparsity": 0.0 if pruner == "dense" else sparsity,
                "seed": seed,
                "status": "ok",
                "accuracy": 0.7 + 0.01 * seed,
                "ece_debiased": 0.05,
                "passes": 160,
                "reliability": bins,
            }
            for pruner in pruners
            for sparsity in sparsities
            for seed in (0, 1)
        ]
    )


def test_reliability_shows_the_methods_that_were_run():
    figure = pruning.reliability(rows(["dense", "hydra", "vpns"]), 0.8)
    titles = [axis.get_title() for axis in figure.axes]
    assert [t.split("\n")[0] for t in titles if t] == ["dense", "HYDRA", "VPNs"]


def test_sizes_of_networks_are_told_by_their_ratio():
    network = {"macs": 10, "parameters": 5, "sparsity": 0.47}  # of its weights; the key is the ratio
    cell = {"target": "digits", "pruner": "depgraph"}
    records = [{"cell": cell, "facts": {"networks": {"0.3": network | {"macs": macs}}}} for macs in (10, 20)]
    (size,) = sizes(records).to_dict("records")
    assert size["sparsity"] == 0.3
    assert size["macs"] == 15


def test_cell_page_counts_runs_that_diverged():
    records = rows(["vpns"]).assign(metrics=[{"accuracy": 0.7}, None], status=["ok", "diverged"]).to_dict("records")
    assert "✕ 1" in texts(pruning.cell_arms(records, 10))
    assert pruning.arm_label("bn", "prompted").endswith("(with prompt)")


@pytest.mark.parametrize("many", [3, 9])
def test_a_forest_shows_the_least_favourable_of_many(many):
    effects = [
        {"label": f"f{k}", "effect": 0.01 * k, "low": 0.0, "high": 0.1, "p": 0.1 * (9 - k), "targets": {}}
        for k in range(many)
    ]
    effects[0] |= {"effect": None, "low": None, "high": None, "p": 1.0}  # no comparable runs
    record = {"id": "V1", "study": "vpns", "unit": "accuracy", "findings": effects, "verdict": "inconclusive"}
    figure = forest.draw([record | {"direction": 1, "smallest_effect": 0.005}], "a paper")
    shown = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(shown) == min(many, forest.MOST)
    assert shown[0] == "V1: f0"
    assert texts(figure).count("no comparable runs") == 1
    assert ("least favourable" in texts(figure)) == (many > forest.MOST)
