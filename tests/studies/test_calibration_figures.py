"""Figures of confidence, of the legacy quantity and of temperature scaling: what they must show of made-up results."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from studies.figures import style
from studies.hidden_cost.figures import calibration
from studies.hidden_cost.figures.changes import scaling

BINS, METHODS = 15, ("visual_prompting", "linear_probe")


def diagram(right: dict[int, int], wrong: dict[int, int]) -> dict[str, list]:
    """Reliability bins of so many correct and wrong pictures, by bin; None where there are none."""
    rows = [(right.get(b, 0), wrong.get(b, 0)) for b in range(BINS)]
    return {
        "count": [r + w for r, w in rows],
        "confidence": [(b + 0.5) / BINS if sum(row) else None for b, row in enumerate(rows)],
        "accuracy": [r / (r + w) if r + w else None for r, w in rows],
    }


def results(
    names=("dense", "imp-0.80", "imp-0.95", "int4"), targets=("digits", "faces"), budgets=("10", "all"), seeds=(0, 1)
) -> pd.DataFrame:
    """A tidy frame of finished runs."""
    draw = np.random.default_rng(0)
    arms = [(n, t, m, b, s) for n in names for t in targets for m in METHODS for b in budgets for s in seeds]
    frame = pd.DataFrame(arms, columns=["compression", "target", "method", "budget", "seed"])
    frame = frame.assign(backbone="cnn", source_seed=0, status="ok")
    for metric, high in (("ece", 0.3), ("legacy_ece", 0.05), ("ece_debiased", 0.3), ("ece_debiased_scaled", 0.05)):
        frame[metric] = draw.uniform(0, high, len(frame))
    frame["reliability"] = [
        diagram({b: int(draw.integers(1, 30)) for b in range(3, BINS)}, {b: int(draw.integers(9)) for b in range(BINS)})
        for _ in range(len(frame))
    ]
    return frame


def diverge(frame: pd.DataFrame, rows: pd.Series) -> pd.DataFrame:
    """The frame with `rows` as the reader gives diverged runs: no metrics, no bins."""
    frame = frame.copy()
    frame["reliability"] = frame["reliability"].where(~rows, None)
    frame.loc[rows, ["ece", "legacy_ece", "ece_debiased", "ece_debiased_scaled"]] = np.nan
    frame.loc[rows, "status"] = "diverged"
    return frame


def words(figure: Figure) -> str:
    texts = [text.get_text() for text in figure.findobj(Text) if text.get_visible()]
    return " ".join("\n".join(texts).split())


FIGURES = {"confidence": calibration.confidence, "legacy": calibration.legacy, "scaling": scaling}


@pytest.mark.parametrize("frame", [results(), results(("dense", "int2"), ("faces",), ("1",), (0,))])
@pytest.mark.parametrize("name", FIGURES)
def test_they_are_fit_for_print(name, frame):
    """As wide as a page, every letter legible, titles of neighbours and words beside the data apart."""
    figure = FIGURES[name](frame)
    assert figure.get_figwidth() == pytest.approx(style.WIDTH)
    assert not [t.get_text() for t in figure.findobj(Text) if t.get_text().strip() and t.get_fontsize() < 8]
    figure.get_layout_engine().execute(figure)
    titles = [axis.title.get_window_extent() for axis in figure.axes if axis.get_title()]
    boxes = [axis.get_tightbbox() for axis in figure.axes]
    assert all(figure.bbox.padded(3).contains(*corner) for box in boxes for corner in (box.min, box.max))
    assert not any(a.overlaps(b) for k, a in enumerate(titles) for b in titles[:k])
    for artist in [*figure.legends, *figure.texts]:
        assert not artist.get_tightbbox().shrunk(0.98, 0.98).overlaps(Bbox.union(boxes)), artist


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_shows_one_backbone(name):
    with pytest.raises(ValueError, match="one backbone; given: cnn, vit"):
        FIGURES[name](pd.concat([results(), results().assign(backbone="vit")]))


# --- confidence
def test_histograms_are_the_counts_of_the_bins():
    frame = results(("dense",), ("faces",), ("10", "all"), (0, 1))
    here = (frame["method"] == "visual_prompting") & (frame["budget"] == "all")
    frame.loc[here, "reliability"] = pd.Series(
        [diagram({14: 6, 9: 1}, {14: 2}), diagram({14: 4}, {9: 3, 5: 4})], frame.index[here]
    )
    figure = calibration.confidence(frame)
    (axis,) = figure.axes
    heights = np.array([bar.get_height() for bar in axis.patches]) * 20  # pictures of both seeds
    right, wrong = np.zeros(BINS), np.zeros(BINS)
    right[[14, 9]], wrong[[14, 9, 5]] = (10, 1), (2, 3, 4)
    assert heights == pytest.approx([*right, *-wrong])
    assert axis.patches[9].get_x() == pytest.approx(9 / BINS)


def test_confidence_chooses_dense_the_sparsest_and_bits_at_the_largest_budget():
    figure = calibration.confidence(results())
    titles = [axis.get_title() for axis in figure.axes if axis.get_title()]
    assert titles == ["dense", "IMP 95 %", "4 bits"]
    assert [axis.get_ylabel().split("\n")[0] for axis in figure.axes[::3]] == ["digits", "faces"]
    assert "Budget: all" in words(figure) and "diverged" not in words(figure)


def test_confidence_counts_what_diverged():
    frame = results()
    here = (frame["method"] == "visual_prompting") & (frame["budget"] == "all") & (frame["target"] == "faces")
    lost = here & ((frame["compression"] == "int4") | (frame["compression"] == "dense") & (frame["seed"] == 0))
    figure = calibration.confidence(diverge(frame, lost))
    assert "3 of 12 runs diverged" in words(figure)
    assert words(figure).count("no run finished") == 1
    (one,) = frame[here & (frame["compression"] == "dense") & (frame["seed"] == 1)]["reliability"]
    expected = [(c * (a or 0)) / sum(one["count"]) for c, a in zip(one["count"], one["accuracy"], strict=True)]
    assert [bar.get_height() for bar in figure.axes[3].patches[:BINS]] == pytest.approx(expected)


# --- the legacy quantity
def test_the_legacy_panels_hold_every_finished_run_by_target():
    frame = diverge(results(), results()["seed"] == 1)
    figure = calibration.legacy(frame)
    assert [axis.get_title().split("\n")[0] for axis in figure.axes] == ["visual prompt", "linear probe"]
    for method, axis in zip(METHODS, figure.axes, strict=True):
        drawn = [line for line in axis.lines if len(line.get_xdata())]
        assert [line.get_marker() for line in drawn] == ["o", "s"]
        for target, line in zip(("digits", "faces"), drawn, strict=True):
            here = frame[(frame["method"] == method) & (frame["target"] == target) & (frame["status"] == "ok")]
            assert list(line.get_xdata()) == list(here["ece"])
            assert list(line.get_ydata()) == list(here["legacy_ece"])
            assert line.get_color() == style.method(method).colour


def test_pairs_of_runs_do_not_mix_targets():
    """Within each target the two agree, between targets they do not."""
    frame = results(budgets=("all",))
    steps = frame.groupby(["target", "method"]).cumcount() / 100
    is_faces = frame["target"] == "faces"
    frame["ece"] = 0.05 + steps + 0.2 * ~is_faces
    frame["legacy_ece"] = 0.01 + steps / 10 + 0.05 * is_faces
    assert words(calibration.legacy(frame)).count("0 % of 56 pairs opposite") == 2  # 2 × (8 over 2)
    frame.loc[is_faces, "ece"] = 1 - frame["ece"]
    assert words(calibration.legacy(frame)).count("50 % of 56 pairs opposite") == 2


def test_disagreements_by_hand():
    ece, legacy_values = np.array([0.1, 0.2, 0.3, 0.3]), np.array([5.0, 4.0, 6.0, 1.0])
    # opposite: (0, 1), (0, 3), (1, 3); equal ECE, so no order: (2, 3)
    assert calibration.disagreements(ece, legacy_values) == (3, 6)
    assert calibration.disagreements(ece[:1], legacy_values[:1]) == (0, 0)


# --- temperature scaling
def test_pairs_are_means_of_seeds_before_and_after():
    frame = results()
    figure = scaling(frame)
    assert [axis.get_title() for axis in figure.axes] == ["digits", "faces"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        "dense",
        "IMP 80 %",
        "IMP 95 %",
        "4 bits",
    ]
    largest = frame[frame["budget"] == "all"]
    means = largest.groupby(["target", "method", "compression"])[["ece_debiased", "ece_debiased_scaled"]].mean()
    for axis in figure.axes:
        hollow = {round(x, 9) for line in axis.lines if line.get_markerfacecolor() == "white" for x in line.get_xdata()}
        drawn = {round(x, 9) for line in axis.lines if line.get_marker() in "os" for x in line.get_xdata()}
        assert hollow == set(means.loc[axis.get_title(), "ece_debiased"].round(9))
        assert drawn == set(means.loc[axis.get_title()].round(9).to_numpy().ravel())


def test_scaling_draws_what_finished():
    frame = results()
    lost = (frame["compression"] == "int4") & ((frame["seed"] == 0) | (frame["target"] == "faces"))
    kept = diverge(frame, lost)
    shown = {round(x, 9) for line in scaling(kept).axes[1].lines for x in line.get_xdata() if np.isfinite(x)}
    assert not shown & set(frame[lost & (frame["target"] == "faces")]["ece_debiased"].round(9))
    one = kept[(kept["compression"] == "int4") & (kept["budget"] == "all") & (kept["status"] == "ok")]["ece_debiased"]
    drawn = {round(x, 9) for line in scaling(kept).axes[0].lines for x in line.get_xdata() if np.isfinite(x)}
    assert set(one.round(9)) <= drawn
