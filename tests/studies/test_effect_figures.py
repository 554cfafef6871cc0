"""Means with intervals as dots, heat maps, and forest plots of effects."""

import numpy as np
import pandas as pd
import pytest
from texts import faults

from studies.claims import forest
from studies.claims.verdict import ONE_NETWORK
from studies.figures import dots, panels
from studies.vpns import cell_figures


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


def points(axis) -> int:
    return sum(len(container[0].get_xdata()) for container in axis.containers)


def test_dots_draw_each_row_in_the_order_asked_for():
    figure = dots.draw(
        table(),
        "accuracy",
        "Title",
        "Note.",
        levels={"digits": 0.7},
        level_label="dense",
        order=["VPNs", "OMP", "gone"],
    )
    axis = figure.axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["VPNs", "OMP"]
    assert points(axis) == 4
    assert {"80 %", "95 %", "dense"} <= set(texts(figure).split("\n"))


def test_intervals_are_cut_where_values_end():
    wide = table().assign(low=-2.0, high=3.0)
    low, high = dots.draw(wide, "accuracy", "Title", "Note.", bounds=(0, 1)).axes[0].get_xlim()
    assert (low, high) == pytest.approx((-0.03, 1.03))
    assert dots.draw(wide, "change", "Title", "Note.").axes[0].get_xlim()[1] > 3


def test_dots_tell_of_runs_that_diverged():
    lost = table()
    lost.loc[0, ["mean", "low", "high", "n", "n_diverged"]] = [np.nan, np.nan, np.nan, 0, 3]
    figure = dots.draw(lost, "accuracy", "Title", "Note.")
    assert "✕ 3 of 3" in texts(figure)
    assert points(figure.axes[0]) == 3


def record_of(smallest):
    effect = {"label": "f", "effect": 0.5, "low": 0.4, "high": 0.6, "p": 0.0, "targets": {}}
    return {
        "id": "V1",
        "study": "vpns",
        "unit": "accuracy",
        "test": "directional",
        "direction": 1,
        "smallest_effect": smallest,
        "published_effects": [],
        "findings": [effect],
        "verdict": "reproduced",
        "reading": "reproduced",
    }


def test_huge_effects_do_not_squeeze_the_others():
    figure = forest.draw([record_of(smallest=0.005)], "a paper")
    assert figure.axes[0].get_xscale() == "symlog"
    assert "100" in [label.get_text() for label in figure.axes[0].get_xticklabels()]
    figure = forest.draw([record_of(smallest=0.1)], "a paper")
    assert figure.axes[0].get_xscale() == "linear"


@pytest.mark.parametrize(("sizes", "places"), [([], []), ([0.3], [3, 3]), ([0.3, 0.2], [3, 2])])
def test_published_effects_are_diamonds_at_their_size(sizes, places):
    """In smallest effects of interest, in the published direction, which is to the right."""
    first = record_of(smallest=0.1)
    record = first | {"direction": -1, "published_effects": sizes}
    record["findings"] = [first["findings"][0], first["findings"][0] | {"label": "g"}]
    figure = forest.draw([record], "a paper")
    shown = [line for line in figure.axes[0].get_lines() if line.get_marker() == "D"]
    assert [line.get_xdata()[0] for line in shown] == pytest.approx(places)
    assert [line.get_ydata()[0] for line in shown] == [*range(len(places))]
    assert ("published effect" in texts(figure)) == bool(sizes)


@pytest.mark.parametrize("many", [3, 9])
def test_a_forest_shows_the_least_favourable_of_many(many):
    effects = [
        {"label": f"f{k}", "effect": 0.01 * k, "low": 0.0, "high": 0.1, "p": 0.1 * (9 - k), "targets": {}}
        for k in range(many)
    ]
    effects[0] |= {"effect": None, "low": None, "high": None, "p": 1.0}  # no comparable runs
    record = {
        "id": "V1",
        "study": "vpns",
        "unit": "accuracy",
        "test": "directional",
        "published_effects": [],
        "findings": effects,
        "verdict": "inconclusive",
    }
    record["reading"] = "inconclusive"
    figure = forest.draw([record | {"direction": 1, "smallest_effect": 0.005}], "a paper")
    shown = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(shown) == min(many, forest.MOST)
    assert shown[0] == "V1: f0"
    assert texts(figure).count("no comparable runs") == 1
    assert ("least favourable" in texts(figure)) == (many > forest.MOST)


def test_layers_name_the_empty_ones():
    figure = cell_figures.layers(
        {"0.5": {"a.weight": 0.0, "b.weight": 0.25}, "0.9": {"a.weight": 0.004, "b.weight": 1.0}}
    )
    (axis, *_) = figure.axes
    assert [text.get_text() for text in axis.texts] == ["0", "25", "0.4", "100"]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["a", "b"]
    assert faults(figure) == []


def test_the_layers_of_a_deep_network_are_drawn_without_numbers():
    deep = {f"layer{k}.conv.weight": 1 / (k + 1) for k in range(53)}
    figure = cell_figures.layers({"0.5": deep})
    assert not figure.axes[0].texts and faults(figure) == []


def test_what_one_network_says_is_hollow():
    record = record_of(smallest=0.1)
    for verdict, inside in (("reproduced", "#009E73"), (ONE_NETWORK, "white")):
        figure = forest.draw([record | {"verdict": verdict}], "a paper")
        (marker,) = (line for line in figure.axes[0].lines if line.get_marker() == "s")
        assert marker.get_markerfacecolor() == inside
        assert ("Hollow" in texts(figure)) == (inside == "white")


@pytest.mark.parametrize(
    ("test", "ends", "said"),
    [
        ("directional", (0.1, 2.0, 3.0), "reproduced"),
        ("directional", (0.1, 0.5, 1.5), "inconclusive"),  # smaller than asked for
        ("directional", (-1.0, 0.0, 0.9), "contradicted"),
        ("non-inferiority", (-0.9, 0.0, 5.0), "reproduced"),
        ("non-inferiority", (-3.0, -2.0, -1.1), "contradicted"),
        ("equivalence", (-0.9, 0.0, 0.9), "reproduced"),
        ("equivalence", (1.1, 2.0, 3.0), "contradicted"),
        ("equivalence", (-2.0, 0.0, 0.9), "inconclusive"),
        ("directional", (np.nan, 5.0, np.nan), "inconclusive"),
    ],
)
def test_a_row_of_a_forest_has_the_colour_of_its_own_interval(test, ends, said):
    low, effect, high = (None if np.isnan(end) else 0.1 * end for end in ends)
    found = {"label": "f", "effect": effect, "low": low, "high": high, "p": 1.0, "targets": {}}
    record = record_of(0.1) | {"test": test}
    other = "reproduced" if said == "contradicted" else "contradicted"  # of the whole claim
    figure = forest.draw([record | {"findings": [found], "reading": other, "verdict": other}], "a paper")
    colour, marker = forest.LOOKS[said]
    assert (colour, marker) in [(line.get_color(), line.get_marker()) for line in figure.axes[0].lines]
    assert faults(figure) == []


def test_networks_that_collapsed_are_hollow_and_the_legend_says_so():
    figure = dots.draw(table(admitted=[True] * 4 + [False] * 4), "accuracy", "Title", "Note.")
    hollow = [line for line in figure.axes[0].lines if line.get_markerfacecolor() == "white"]
    assert sum(len(line.get_xdata()) for line in hollow) == 2  # both groups of a row
    assert panels.HOLLOW in texts(figure) and panels.HOLLOW not in texts(dots.draw(table(), "a", "Title", "Note."))
