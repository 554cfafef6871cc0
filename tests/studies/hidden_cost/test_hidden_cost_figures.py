"""Figures and tables of made-up results: what they must show, and that equal results give equal bytes."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from studies.backbones import figures as backbone_cell
from studies.figures import cell, compressions, panels, style
from studies.figures.pictures import grid
from studies.figures.tables import save
from studies.hidden_cost import tables
from studies.hidden_cost.figures import calibration, changes, lines, pictures

COMPRESSIONS = ["dense", "imp-0.80", "imp-0.90", "imp-0.95", "magnitude-0.90", "int4", "int2"]
CLASSES = {"digits": 10, "textures": 12, "faces": 2}
SOURCE_NAMES = list("0123456789ABCDEFGHJKLMNOPQRSTUVWXYZΓΔΘΛΞΠΣΦΨΩ")
LEVEL = {"visual_prompting": 0.72, "linear_probe": 0.86, "fine_tuning": 0.95}
GAIN = {"1": -0.35, "10": -0.1, "all": 0.0}
DAMAGE = {"dense": 0, "imp-0.50": 0.01, "imp-0.80": 0.04, "imp-0.90": 0.09, "imp-0.95": 0.16}
DAMAGE |= {"magnitude-0.90": 0.22, "int4": 0.005, "int2": 0.2}
METRICS = ["accuracy", "ece", "ece_debiased", "ece_equal_mass", "nll", "brier", "legacy_ece", "ece_debiased_scaled"]


def diagram(draw: np.random.Generator, accuracy: float, gap: float) -> dict:
    """Reliability bins of a model overconfident by `gap`; the lowest bins are empty."""
    centres = (np.arange(15) + 0.5) / 15
    count = draw.poisson(86 * np.exp(-0.5 * ((centres - min(accuracy + gap, 1)) / 0.2) ** 2))
    count[:2] = 0
    right = np.clip(centres - gap + draw.normal(0, 0.03, 15), 0, 1)
    filled = count > 0
    return {
        "count": count.tolist(),
        "confidence": [float(value) if some else None for value, some in zip(centres, filled, strict=True)],
        "accuracy": [float(value) if some else None for value, some in zip(right, filled, strict=True)],
    }


def make_results(names=COMPRESSIONS, targets=CLASSES, budgets=("1", "10", "all"), seeds=(0, 1, 2), diverged=()):
    """A tidy frame of results; `diverged` holds (compression, target, method, budget, seed)."""
    draw, rows = np.random.default_rng(0), []
    of_method = {"visual_prompting": budgets, "linear_probe": budgets, "fine_tuning": budgets[-1:]}
    arms = [(m, b, s) for m, of in of_method.items() for b in of for s in seeds]
    for arm in ((compression, target, *arm) for compression in names for target in targets for arm in arms):
        compression, target, method, budget, _ = arm
        prompted, chance = method == "visual_prompting", 1 / CLASSES[target]
        skill = LEVEL[method] + GAIN[budget] - DAMAGE[compression] * (1.5 if prompted else 0.6)
        accuracy = chance + (1 - chance) * float(np.clip(skill + draw.normal(0, 0.012), 0, 1))
        ece = float(abs(0.08 + 0.9 * DAMAGE[compression] * prompted + draw.normal(0, 0.012)))
        keys = ("compression", "target", "method", "budget", "seed")
        row = {"backbone": "cnn", "source_seed": 0, **dict(zip(keys, arm, strict=True)), "status": "ok", "reason": None}
        values = (accuracy, ece + 0.01, ece, ece + 0.005, 2 - accuracy, 1 - accuracy, 0.1 - ece / 2, ece / 3)
        row |= dict(zip(METRICS, values, strict=True))
        row |= {"reliability": diagram(draw, accuracy, ece), "mapping": None}
        if prompted:
            row["mapping"] = draw.permutation(len(SOURCE_NAMES))[: CLASSES[target]].tolist()
        if arm in diverged:
            row |= dict.fromkeys(METRICS, np.nan) | {"status": "diverged", "reason": "the loss was nan"}
            row |= dict.fromkeys(("reliability", "mapping"))
        rows.append(row)
    return pd.DataFrame(rows)


def make_backbones(names=COMPRESSIONS) -> pd.DataFrame:
    rows = []
    for name in names:
        family, _, nominal = name.partition("-")
        sparsity, bits = float(nominal or 0), int(name[3:]) if name.startswith("int") else 32
        row = {
            "backbone": "cnn",
            "source_seed": 0,
            "compression": name,
            "family": family.rstrip("0123456789"),
            "bits": bits,
        }
        row |= {"sparsity_nominal": sparsity, "sparsity": sparsity * 0.9999, "parameters": 712345, "macs": 1480000}
        row |= {"bytes": round(2849380 * (1 - sparsity) * bits / 32)}
        rows.append(row | {"upstream_accuracy": 0.97 - 0.02 * sparsity, "upstream_ece": 0.01})
        rows[-1] |= {"upstream_ece_debiased": 0.002, "zero_weights": max(sparsity, 0.3 if bits == 4 else 0)}
    return pd.DataFrame(rows)


ONE_LOST = ("imp-0.90", "digits", "visual_prompting", "10", 1)
ALL_LOST = [("int2", "faces", "linear_probe", "1", seed) for seed in (0, 1, 2)]
FIRST_LOST = ("imp-0.90", "faces", "visual_prompting", "10", 0)
NAMES = ["dense", "imp-0.80", "imp-0.90", "magnitude-0.90", "int2"]
FULL = make_results(NAMES, ["digits", "faces"], ("1", "10"), diverged=[ONE_LOST, *ALL_LOST, FIRST_LOST])
BACKBONES = make_backbones(NAMES)
TINY_NAMES = ["dense", "imp-0.50", "int4"]
TINY, TINY_BACKBONES = make_results(TINY_NAMES, ["faces"], ("1",), (0,)), make_backbones(TINY_NAMES)
PICTURES = np.random.default_rng(1).random((len(SOURCE_NAMES), 3, 8, 8))


def draw_mapping(results: pd.DataFrame, _) -> Figure:
    last = results["target"].iloc[-1]  # the faces, which are few, where there are several targets
    names = [str(k) for k in range(CLASSES[last])]
    return pictures.mapping(
        results, last, PICTURES, names, lambda name: PICTURES[SOURCE_NAMES.index(name)], SOURCE_NAMES
    )


def draw_prompts(results: pd.DataFrame, _) -> Figure:
    cells = results[["target", "compression"]].itertuples(index=False, name=None)
    return pictures.prompts(results, {key: PICTURES[k] for k, key in enumerate(dict.fromkeys(cells))})


CONTROLS = FULL[FULL["method"] == "visual_prompting"].assign(method="random_mapping")
TINY_CONTROLS = TINY[TINY["method"] == "linear_probe"].assign(method="padded_probe")

DRAWN = {
    "controls": lambda results, _: changes.controls(results, CONTROLS if results is FULL else TINY_CONTROLS),
    "accuracy_by_sparsity": lines.accuracy_by_sparsity,
    "ece_by_sparsity": lines.ece_by_sparsity,
    "bit_width": lines.by_bits,
    "families": lambda results, _: changes.by_family(results),
    "change_heatmap": lambda results, _: changes.heatmap(results),
    "reliability": lambda results, _: calibration.reliability(results),
    "confidence": lambda results, _: calibration.confidence(results),
    "legacy": lambda results, _: calibration.legacy(results),
    "scaling": lambda results, _: changes.scaling(results),
    "prompts": draw_prompts,
    "mapping": draw_mapping,
}


@cache
def full(name: str) -> Figure:
    return DRAWN[name](FULL, BACKBONES)


@cache
def tiny(name: str) -> Figure:
    return DRAWN[name](TINY, TINY_BACKBONES)


def records(results: pd.DataFrame, compression: str) -> list[dict]:
    """Rows as they stand in the record of a transfer cell on digits."""
    mine = results[(results["compression"] == compression) & (results["target"] == "digits")]
    return [
        row | {"metrics": {m: row[m] for m in METRICS} if row["status"] == "ok" else None}
        for row in mine.to_dict("records")
    ]


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text() and text.get_visible()]


def assert_fit_for_print(figure: Figure) -> None:
    """As wide as a printed page, every letter legible, nothing over the edge, words beside the data."""
    assert figure.get_figwidth() == pytest.approx(18 / 2.54)
    assert not [t.get_text() for t in figure.findobj(Text) if t.get_text().strip() and t.get_fontsize() < 8]
    figure.get_layout_engine().execute(figure)
    boxes = [axis.get_tightbbox() for axis in figure.axes if axis.axison]
    assert boxes
    page, all_of_them = figure.bbox.padded(3), Bbox.union(boxes)
    assert page.contains(*all_of_them.min)
    assert page.contains(*all_of_them.max)
    titles = [axis.title.get_window_extent() for axis in figure.axes if axis.get_title()]
    assert not any(a.overlaps(b) for k, a in enumerate(titles) for b in titles[:k])
    for artist in [*figure.legends, *figure.texts]:
        inside = artist.get_tightbbox().shrunk(0.98, 0.98)
        assert not any(inside.overlaps(box) for box in boxes), artist


@pytest.mark.parametrize("draw", [full, tiny])
@pytest.mark.parametrize("name", DRAWN)
def test_figures_are_fit_for_print(draw, name):
    assert_fit_for_print(draw(name))


@pytest.mark.parametrize("name", ["accuracy_by_sparsity", "bit_width"])
def test_one_seed_has_no_interval(name):
    assert any("no intervals" in text for text in words(tiny(name)))
    paths = [path.vertices for axis in tiny(name).axes for c in axis.collections for path in c.get_paths()]
    assert not any(np.isfinite(vertices).all() for vertices in paths if len(vertices))
    paths = [path.vertices for axis in full(name).axes for c in axis.collections for path in c.get_paths()]
    assert any(np.isfinite(vertices).all() for vertices in paths if len(vertices))


def test_equal_figures_give_equal_files_however_often_they_are_saved(tmp_path):
    few = make_results(["dense", "int4"], ["faces"], ("1",), (0,))
    figure, again = changes.heatmap(few), changes.heatmap(few)
    for folder, each in (("a", figure), ("b", figure), ("c", again)):
        style.save(each, "figure", tmp_path / folder, tmp_path / folder)
    for suffix in ("png", "svg", "pdf"):
        first, *others = [(tmp_path / folder / f"figure.{suffix}").read_bytes() for folder in "abc"]
        assert others == [first] * 2
        assert b"Software" not in first and b"<dc:date>" not in first and b"CreationDate" not in first


@pytest.mark.parametrize("name", [name for name in DRAWN if name != "controls"])
def test_a_figure_shows_one_backbone(name):
    two = pd.concat([TINY, TINY.assign(backbone="vit")])
    with pytest.raises(ValueError, match="one backbone; given: cnn, vit"):
        DRAWN[name](two, TINY_BACKBONES)


def test_accuracy_lines_are_the_means_of_pruned_backbones_only():
    figure = full("accuracy_by_sparsity")
    axis = figure.axes[1]  # digits, linear probe
    here = FULL[(FULL["target"] == "digits") & (FULL["method"] == "linear_probe") & (FULL["budget"] == "10")]
    means = here.groupby("compression")["accuracy"].mean()
    lines = [line for line in axis.lines if len(line.get_xdata()) == 3]
    source = [line for line in lines if line.get_label() == "source task"]
    upstream = make_backbones().set_index("compression")["upstream_accuracy"]
    assert source[0].get_ydata() == pytest.approx(upstream[["dense", "imp-0.80", "imp-0.90"]].to_numpy())
    lines = [line for line in lines if line is not source[0]]
    assert len(lines) == 2
    assert lines[1].get_ydata() == pytest.approx(means[["dense", "imp-0.80", "imp-0.90"]].to_numpy())
    one_shot = [line.get_ydata()[0] for line in axis.lines if line.get_markerfacecolor() == "white"]
    assert one_shot[1] == pytest.approx(means["magnitude-0.90"])
    assert [0.1, 0.1] in [list(line.get_ydata()) for line in axis.lines]  # chance
    assert [label.get_text() for label in figure.axes[-1].get_xticklabels()] == ["0", "80", "90"]


def test_diverged_runs_are_counted_where_they_are_missing():
    assert words(full("accuracy_by_sparsity")).count("1 of 3") == 2
    assert "3 of 3" in words(full("bit_width"))
    assert sum("1 of 3 diverged" in text for text in words(full("reliability"))) == 2
    assert words(full("prompts")).count("diverged") == 1
    assert any("2 of 18 runs diverged" in text for text in words(full("confidence")))
    rows = [row | {"status": "diverged"} if row["seed"] == 0 else row for row in records(FULL, "dense")]
    assert any("5 of 15 runs diverged" in text for text in words(cell.accuracy_by_budget(rows, 10)))


def test_change_heatmap_states_size_sign_and_significance():
    dense = FULL[(FULL["compression"] == "dense") & (FULL["target"] == "digits")]
    noisy = dense["accuracy"] + dense["seed"].map({0: 0.1, 1: -0.1, 2: 0.03})
    frame = pd.concat(
        [
            dense,
            dense.assign(compression="imp-0.80", accuracy=dense["accuracy"] - 0.052),
            dense.assign(compression="imp-0.90", accuracy=noisy),
            dense.assign(compression="int4"),
            dense.assign(compression="int2", accuracy=np.nan, status="diverged"),
        ]
    )
    texts = [text.get_text() for axis in changes.heatmap(frame).axes for text in axis.texts]
    for text in ("−5.2*", "+1.0", "0.0", "none†"):
        assert texts.count(text) == 5, text  # prompt and probe at two budgets, fine-tuning at one


def test_change_heatmap_of_nothing_compressed_says_so():
    figure = changes.heatmap(FULL[FULL["compression"] == "dense"])
    assert any("Nothing to compare" in text for text in words(figure))


def test_pooled_bins_are_those_of_all_pictures_together():
    a = {"count": [2, 0, 4], "confidence": [0.2, None, 0.9], "accuracy": [0.5, None, 0.75]}
    b = {"count": [6, 0, 0], "confidence": [0.3, None, None], "accuracy": [0.0, None, None]}
    pooled = cell.pool([a, b])
    assert pooled["count"].tolist() == [8, 0, 4]
    assert pooled["confidence"] == pytest.approx([0.275, np.nan, 0.9], nan_ok=True)
    assert pooled["accuracy"] == pytest.approx([0.125, np.nan, 0.75], nan_ok=True)


def test_reliability_bars_are_the_pooled_accuracy():
    axis = tiny("reliability").axes[0]
    expected = TINY.loc[TINY["method"] == "visual_prompting", "reliability"].iloc[0]["accuracy"]
    heights = [bar.get_height() for bar in axis.patches[:15]]
    assert heights == pytest.approx([np.nan if value is None else value for value in expected], nan_ok=True)


def test_mapping_marks_what_differs_from_dense():
    results = make_results(TINY_NAMES, ["faces"], ("1",), (0,))
    of_compression = {"dense": [4, 5], "imp-0.50": [4, 5], "int4": [20, 5]}
    results["mapping"] = results["compression"].map(of_compression)
    figure = draw_mapping(results, TINY_BACKBONES)
    bold = [text.get_text() for axis in figure.axes for text in axis.texts if text.get_weight() == "bold"]
    assert bold == [SOURCE_NAMES[20]]
    assert np.array_equal(figure.axes[1].images[0].get_array(), np.moveaxis(PICTURES[4], 0, 2))


def test_mapping_marks_classes_without_evidence():
    results = make_results(TINY_NAMES, ["faces"], ("1",), (0,))
    results["mapping"] = [[4, 5]] * len(results)
    results["evidence"] = results["compression"].map({"dense": [2, 1], "imp-0.50": [2, 0], "int4": [0, 0]})
    figure = draw_mapping(results, TINY_BACKBONES)
    assert [text.get_text() for axis in figure.axes for text in axis.texts].count("no\nevidence") == 3
    assert_fit_for_print(figure)


def test_cell_figures_are_fit_for_print():
    rows, names = records(FULL, "imp-0.90"), SOURCE_NAMES[:7]
    upstream = [rows[0] | {"method": "upstream", "budget": None}]
    layers = {f"layer{i}.conv.weight": 0.5 + i / 10 for i in range(4)}
    weights = np.random.default_rng(3).normal(size=1000)
    for figure in (
        cell.prompt_and_example(PICTURES[0], PICTURES[1]),
        cell.mapping_pairs(PICTURES[:7], names, PICTURES[7:14], names),
        cell.accuracy_by_budget(rows, 10),
        cell.reliability(rows),
        cell.reliability(upstream),
        backbone_cell.loss_curve({"50 % sparse": 1 / np.arange(1, 60), "80 % sparse": 2 / np.arange(1, 60)}),
        grid(PICTURES[:7], names, "Samples"),
        grid(PICTURES[:9], ["speed limit 20 km/h and more"] * 9, "Targets", "9 of 20 classes.", columns=6),
        grid(PICTURES[:8], ["a picture of a bold italic serif small greek alpha."] * 8, "Captions", columns=4),
        backbone_cell.sparsity_by_layer(layers, 0.7),
        backbone_cell.weight_histogram(weights, np.where(abs(weights) < 1, 0, weights)),
    ):
        assert_fit_for_print(figure)


def test_a_large_target_shows_some_of_its_classes(monkeypatch):
    monkeypatch.setattr(cell, "MOST_PAIRS", 4)
    figure = cell.mapping_pairs(PICTURES, SOURCE_NAMES, PICTURES, SOURCE_NAMES)
    assert any(f"4 of {len(SOURCE_NAMES)} classes" in text for text in words(figure))


@pytest.mark.parametrize(
    ("name", "label", "short"),
    [
        ("dense", "dense", "dense"),
        ("imp-0.80", "80 % sparse (IMP)", "IMP 80 %"),
        ("magnitude-0.90", "one-shot magnitude, 90 % sparse", "one-shot 90 %"),
        ("int4", "4-bit weights", "4 bits"),
    ],
)
def test_compressions_in_words(name, label, short):
    assert compressions.label(name) == label
    assert compressions.short_label(name) == short


def test_compressions_in_order_and_in_few():
    assert compressions.ordered(reversed(COMPRESSIONS)) == COMPRESSIONS
    assert compressions.representatives(COMPRESSIONS) == ["dense", "imp-0.95", "int4", "int2"]
    assert compressions.representatives(TINY_NAMES) == TINY_NAMES


def test_of_many_compressions_those_of_the_paper_come_first():
    many = ["dense", "imp-0.80", "imp-0.95", "global-0.90", "int4", "int3", "w8a8", "w4a4", "w4a4-mse", "w2a8", "w3a3",
            "w3a3-lsq", "w4a4-lsq"]  # fmt: skip
    few = compressions.representatives(many)
    assert len(few) == compressions.PANELS and {"dense", "imp-0.95", "w4a4-lsq", "w3a3-lsq"} <= set(few)
    assert compressions.shown(many) == few
    assert compressions.shown(COMPRESSIONS) == compressions.ordered(COMPRESSIONS)


@pytest.mark.parametrize("names", [["imp-0.50", "imp-0.80", "imp-0.95"], ["int8", "int4", "int2"]])
def test_severe_compressions_are_darker(names):
    brightness = [sum(to_rgb(compressions.colour(name))) for name in names]
    assert brightness == sorted(brightness, reverse=True)
    assert len(set(brightness)) == 3


def test_budgets_are_ordered_and_told_apart_without_colour():
    assert style.budgets(["all", "10", "1", "100", "1"]) == ["1", "10", "100", "all"]
    looks = [style.line(budget) for budget in ("1", "10", "all")]
    assert len({str(look.dashes) for look in looks}) == len({look.marker for look in looks}) == 3
    assert to_hex(looks[-1].colour) == style.GREY


def test_an_unknown_method_is_named():
    with pytest.raises(ValueError, match="'prefix_tuning' has no look; known: mapping_only, visual_prompting"):
        style.methods(["prefix_tuning"])


def test_limits_hold_means_and_levels_within_0_and_1():
    table = pd.DataFrame({"mean": [0.5, 0.98], "low": [0.4, -3.0], "high": [0.6, 5.0]})
    low, high = panels.limits(table, [0.1], (0, 1))
    assert 0 <= low < 0.1
    assert high == 1
    assert panels.limits(table.assign(mean=np.nan, low=np.nan, high=np.nan)) == (0, 1)


def with_all_metrics(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(**{metric: frame["ece"] for metric in tables.METRICS if metric not in frame})


def test_results_table_says_mean_interval_and_divergence():
    frame = FULL[(FULL["method"] == "linear_probe") & (FULL["budget"] == "1") & (FULL["target"] == "faces")]
    frame = with_all_metrics(frame[frame["compression"].isin(["dense", "int2"])])
    frame.loc[frame["compression"] == "dense", "accuracy"] = [0.80, 0.85, 0.90]
    table = tables.results(frame).set_index("compression")
    assert table.loc["dense", "accuracy"] == "0.850 ± 0.124"  # 4.303 x 0.05 / sqrt(3)
    assert table.loc["dense", "seeds"] == "3"
    assert table.loc["2-bit weights", "accuracy"] == "—"
    assert table.loc["2-bit weights", "seeds"] == "3 of 3 diverged"
    assert not tables.results(with_all_metrics(TINY))["accuracy"].str.contains("±").any()


def test_backbones_table_has_nominal_beside_actual():
    table = tables.backbones(make_backbones()).set_index("compression")
    row = table.loc["90 % sparse (IMP)"]
    assert row["sparsity, nominal (%)"] == "90.0"
    assert row["sparsity, actual (%)"] == "89.99"
    assert row["size (kB)"] == "285"
    assert table.loc["4-bit weights", "bits of a weight"] == "4"
    assert table.loc["4-bit weights", "zero weights (%)"] == "30.00"  # rounded to zero, though none is pruned
    assert row["upstream ECE (debiased)"] == "0.002"


def test_tables_are_written_as_csv_and_markdown(tmp_path):
    table = tables.results(with_all_metrics(TINY))
    save(table, "results", tmp_path)
    read = pd.read_csv(tmp_path / "results.csv", dtype=str, keep_default_na=False)
    assert read.to_numpy().tolist() == table.to_numpy().tolist()
    lines = (tmp_path / "results.md").read_text().splitlines()
    assert len(lines) == 2 + len(table)
    assert lines[2].split("|")[6].strip() == table["accuracy"][0]


def test_histograms_of_confidence_are_the_counts_of_the_bins():
    here = TINY[(TINY["method"] == "visual_prompting") & (TINY["compression"] == "dense")]
    (bins,) = here["reliability"]
    right = np.nan_to_num(np.array(bins["count"]) * np.array(bins["accuracy"], dtype=float))
    axis = tiny("confidence").axes[0]
    assert axis.get_title() == "dense"
    heights = np.array([bar.get_height() for bar in axis.patches]) * sum(bins["count"])
    assert heights == pytest.approx([*right, *(right - np.array(bins["count"]))])


def test_pairs_of_runs_for_the_legacy_quantity_do_not_mix_targets():
    """Within each target the two agree, between targets they do not."""
    frame = make_results(["dense", "int4"], ["digits", "faces"], ("all",))
    steps = frame.groupby(["target", "method"]).cumcount() / 100
    is_faces = frame["target"] == "faces"
    frame["ece"] = 0.05 + steps + 0.2 * ~is_faces
    frame["legacy_ece"] = 0.01 + steps / 10 + 0.05 * is_faces
    titles = [axis.get_title() for axis in calibration.legacy(frame).axes]
    assert titles[0] == "visual prompt\n0 % of 30 pairs opposite" and len(titles) == 3  # 2 × (6 over 2)
    frame.loc[is_faces, "ece"] = 1 - frame["ece"]
    assert "50 % of 30" in calibration.legacy(frame).axes[1].get_title()
    ece, other = np.array([0.1, 0.2, 0.3, 0.3]), np.array([5.0, 4.0, 6.0, 1.0])
    assert calibration.disagreements(ece, other) == (3, 6)  # (0, 1), (0, 3), (1, 3); (2, 3) has no order


def test_scaling_shows_means_of_what_finished_before_and_after():
    done = FULL[(FULL["budget"] == "10") & (FULL["status"] == "ok")]
    means = done.groupby(["target", "method", "compression"])[["ece_debiased", "ece_debiased_scaled"]].mean()
    for axis in full("scaling").axes:
        of_target = means.loc[axis.get_title()].round(9)
        hollow = {round(x, 9) for line in axis.lines if line.get_markerfacecolor() == "white" for x in line.get_xdata()}
        drawn = {round(x, 9) for line in axis.lines if line.get_marker() in "os^" for x in line.get_xdata()}
        assert hollow == set(of_target["ece_debiased"]) and drawn == set(of_target.to_numpy().ravel())


def test_the_band_of_a_reliability_diagram_holds_95_percent_of_calibrated_models():
    rng, confidence, count = np.random.default_rng(0), np.array([0.3, 0.8, np.nan]), np.array([40, 200, 0])
    low, high = calibration.band(confidence, count)
    for k in (0, 1):
        accuracy = rng.binomial(count[k], confidence[k], 20_000) / count[k]
        assert 0.95 <= np.mean((low[k] <= accuracy) & (accuracy <= high[k])) <= 0.98  # discrete: a little more
    assert np.isnan([low[2], high[2]]).all()
