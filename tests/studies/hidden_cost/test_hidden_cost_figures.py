"""Figures and tables of made-up results: what they must show, and that equal results give equal bytes."""

from functools import cache
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from scipy import stats
from texts import faults

from pipeline import scales
from studies.backbones import figures as backbone_cell
from studies.figures import cell, compressions, panels, pictures, reliability, style
from studies.figures.tables import METRICS as WORDS
from studies.figures.tables import save
from studies.hidden_cost import tables
from studies.hidden_cost.evidence import Evidence
from studies.hidden_cost.figures import FIGURES
from studies.hidden_cost.screening import responds

COMPRESSIONS = ["dense", "imp-0.80", "imp-0.90", "imp-0.95", "magnitude-0.90", "int4", "int2"]
CLASSES = {"digits": 10, "textures": 12, "faces": 2}
SOURCE_NAMES = list("0123456789ABCDEFGHJKLMNOPQRSTUVWXYZΓΔΘΛΞΠΣΦΨΩ")
LEVEL = {"mapping_only": 0.6, "visual_prompting": 0.72, "linear_probe": 0.86, "fine_tuning": 0.95}
GAIN = {"1": -0.35, "10": -0.1, "all": 0.0}
DAMAGE = {"dense": 0, "imp-0.50": 0.01, "imp-0.80": 0.04, "imp-0.90": 0.09, "imp-0.95": 0.16}
DAMAGE |= {"magnitude-0.90": 0.22, "int4": 0.005, "int2": 0.2}
METRICS = ["accuracy", "ece", "ece_debiased", "ece_equal_mass", "nll", "brier", "legacy_ece", "ece_debiased_scaled"]
METRICS += ["nll_scaled"]


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
    of_method = {
        "mapping_only": budgets,
        "visual_prompting": budgets,
        "linear_probe": budgets,
        "fine_tuning": budgets[-1:],
    }
    arms = [(m, b, s) for m, of in of_method.items() for b in of for s in seeds]
    for arm in ((compression, target, *arm) for compression in names for target in targets for arm in arms):
        compression, target, method, budget, _ = arm
        prompted, chance = method in ("mapping_only", "visual_prompting"), 1 / CLASSES[target]
        skill = LEVEL[method] + GAIN[budget] - DAMAGE[compression] * (1.5 if prompted else 0.6)
        accuracy = chance + (1 - chance) * float(np.clip(skill + draw.normal(0, 0.012), 0, 1))
        ece = float(abs(0.08 + 0.9 * DAMAGE[compression] * prompted + draw.normal(0, 0.012)))
        keys = ("compression", "target", "method", "budget", "seed")
        row = {"backbone": "cnn", "source_seed": 0, **dict(zip(keys, arm, strict=True)), "status": "ok", "reason": None}
        values = (
            accuracy,
            ece + 0.01,
            ece,
            ece + 0.005,
            2 - accuracy,
            1 - accuracy,
            0.1 - ece / 2,
            ece / 3,
            2 - accuracy,
        )
        row |= dict(zip(METRICS, values, strict=True))
        row |= {"reliability": diagram(draw, accuracy, ece), "mapping": None, "evidence": None}
        if prompted:
            row["evidence"] = [0, *[3] * (CLASSES[target] - 1)]
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
CONTROLS = FULL[FULL["method"] == "visual_prompting"].assign(method="random_mapping")
TINY_CONTROLS = TINY[TINY["method"] == "linear_probe"].assign(method="padded_probe")
CONTENT = {"cell": {"backbone": "cnn"}, "facts": {"source_classes": SOURCE_NAMES}}


def real_network(results: pd.DataFrame) -> pd.DataFrame:
    """Its mapping and probe, with agreement upstream."""
    few = results[results["method"].isin(["mapping_only", "linear_probe"]) & (results["target"] == "faces")]
    few = few[few["compression"].isin(["dense", "int4"])].assign(backbone="lite0")
    upstream = few.drop_duplicates("compression").assign(method="upstream", budget=None, mapping=None, accuracy=0.9)
    return pd.concat([upstream, few], ignore_index=True)


def report(results: pd.DataFrame, names=NAMES, controls=CONTROLS) -> SimpleNamespace:
    """What figures and tables read of a report."""
    backbones, parameters = make_backbones(names), scales.parameters("default")
    upstream = backbones.rename(columns={"upstream_ece_debiased": "ece_debiased"}).assign(admitted=True)
    facts = {("cnn", target): {"pictures": {"test": 600}} for target in CLASSES}
    probes = results[(results["method"] == "linear_probe") & (results["compression"] == "dense")]
    probes = probes[probes["budget"] == probes["budget"].iloc[0]]
    noisy = pd.concat([probes, probes.assign(compression="noise-0.50", accuracy=probes["accuracy"] - 0.1)])
    return SimpleNamespace(
        runs=results,
        noisy=noisy,
        real=SimpleNamespace(frame=real_network(results)),
        responds=responds(noisy, 0.05),
        controls=controls,
        backbones=backbones,
        cells=[],
        contents=[CONTENT],
        parameters=parameters,
        evidence=Evidence(results, upstream, facts),
    )


@cache
def full(name: str) -> Figure:
    return FIGURES[name](report(FULL), FULL).figure


@cache
def tiny(name: str) -> Figure:
    return FIGURES[name](report(TINY, TINY_NAMES, TINY_CONTROLS), TINY).figure


def records(results: pd.DataFrame, compression: str) -> list[dict]:
    """Rows as they stand in the record of a transfer cell on digits."""
    mine = results[(results["compression"] == compression) & (results["target"] == "digits")]
    return [
        row | {"metrics": {m: row[m] for m in METRICS} if row["status"] == "ok" else None}
        for row in mine.to_dict("records")
    ]


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text() and text.get_visible()]


@pytest.mark.parametrize("draw", [full, tiny])
@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_fit_for_print(draw, name):
    if (draw, name) != (tiny, "label_mapping"):  # no digits there
        assert faults(draw(name)) == []


@pytest.mark.parametrize("name", ["accuracy_by_sparsity", "bit_width"])
def test_one_seed_has_no_interval(name):
    assert any("no intervals" in text for text in words(tiny(name)))

    def bars(figure):
        paths = [path.vertices for axis in figure.axes for c in axis.collections for path in c.get_paths()]
        return [vertices for vertices in paths if len(vertices) and np.isfinite(vertices).all()]

    assert bars(full(name)) and not bars(tiny(name))


def test_equal_figures_give_equal_files_however_often_they_are_saved(tmp_path):
    few = make_results(["dense", "int4"], ["faces"], ("1",), (0,))
    figure, again = (FIGURES["change_heatmap"](report(few), few).figure for _ in range(2))
    for folder, each in (("a", figure), ("b", figure), ("c", again)):
        style.save(each, "figure", tmp_path / folder, tmp_path / folder)
    for suffix in ("png", "svg", "pdf"):
        first, *others = [(tmp_path / folder / f"figure.{suffix}").read_bytes() for folder in "abc"]
        assert others == [first] * 2
        assert b"Software" not in first and b"<dc:date>" not in first and b"CreationDate" not in first


def test_accuracy_lines_are_the_means_of_pruned_backbones_only():
    figure = full("accuracy_by_sparsity")
    axis = next(axis for axis in figure.axes if axis.get_title() == "linear probe")
    here = FULL[(FULL["target"] == "digits") & (FULL["method"] == "linear_probe") & (FULL["budget"] == "10")]
    means = here.groupby("compression")["accuracy"].mean()
    drawn = [list(np.round(np.array(line.get_ydata(), float), 9)) for line in axis.lines]
    upstream = make_backbones().set_index("compression")["upstream_accuracy"]
    on_line = ["dense", "imp-0.80", "imp-0.90"]
    for expected in (means[on_line], upstream[on_line], [means["magnitude-0.90"]], [0.1, 0.1]):  # the last is chance
        assert list(np.round(np.array(expected, float), 9)) in drawn
    assert [label.get_text() for label in figure.axes[-1].get_xticklabels()] == ["0", "80", "90"]


def test_diverged_runs_are_counted_where_they_are_missing():
    assert words(full("accuracy_by_sparsity")).count("✕ 1 of 3") == 2
    assert "✕ 3 of 3" in words(full("bit_width"))
    assert any("2 of 18 runs diverged" in text for text in words(full("reliability")))
    assert words(full("prompts")).count("diverged") == 1
    rows = [
        row | {"status": "diverged", "metrics": None} if row["seed"] == 0 else row for row in records(FULL, "dense")
    ]
    assert {"✕ 3 of 9", "✕ 4 of 12"} <= set(words(cell.accuracy_by_budget(rows, 10)))  # fine-tuning at one budget


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
    texts = [
        text.get_text() for axis in FIGURES["change_heatmap"](report(frame), frame).figure.axes for text in axis.texts
    ]
    for text in ("−5.2*", "+1.0", "0.0", "none†"):
        assert texts.count(text) == 7, text  # three methods at two budgets, fine-tuning at one


def test_without_compressed_backbones_there_are_no_changes_to_show():
    dense = FULL[FULL["compression"] == "dense"]
    assert FIGURES["change_heatmap"](report(dense), dense) is None


def test_pooled_bins_are_those_of_all_pictures_together():
    a = {"count": [2, 0, 4], "confidence": [0.2, None, 0.9], "accuracy": [0.5, None, 0.75]}
    b = {"count": [6, 0, 0], "confidence": [0.3, None, None], "accuracy": [0.0, None, None]}
    pooled = reliability.pool([a, b])
    assert pooled["count"].tolist() == [8, 0, 4]
    assert pooled["confidence"] == pytest.approx([0.275, np.nan, 0.9], nan_ok=True)
    assert pooled["accuracy"] == pytest.approx([0.125, np.nan, 0.75], nan_ok=True)


def test_reliability_bars_go_from_confidence_to_accuracy():
    axis, below = tiny("reliability").axes[0], tiny("reliability").axes[3]
    bins = TINY.loc[TINY["method"] == "visual_prompting", "reliability"].iloc[0]
    confidence, accuracy = (np.array(bins[key], dtype=float) for key in ("confidence", "accuracy"))
    bars = axis.patches[:15]
    assert [bar.get_y() for bar in bars] == pytest.approx(confidence, nan_ok=True)
    assert [bar.get_y() + bar.get_height() for bar in bars] == pytest.approx(accuracy, nan_ok=True)
    count = np.array(bins["count"])
    right = np.nan_to_num(count * accuracy)
    heights = np.array([bar.get_height() for bar in below.patches]) * count.sum()  # right above, wrong below
    assert heights == pytest.approx([*right, *(right - count)])


def test_intervals_of_a_reliability_diagram_are_wilson_s():
    low, high = reliability.interval(np.array([0.3, 1.0, np.nan]), np.array([40, 7, 0]))
    z, n, p = stats.norm.ppf(0.975), 40, 0.3
    middle, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert (low[0], high[0]) == pytest.approx(((middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)))
    assert high[1] == 1 and 0.6 < low[1] < 0.7 and np.isnan([low[2], high[2]]).all()


def test_mapping_marks_what_differs_from_dense_and_what_has_no_evidence():
    results = make_results(TINY_NAMES, ["digits"], ("1",), (0,))
    of_compression = {"dense": range(10), "imp-0.50": range(10), "int4": [0, 20, *range(2, 10)]}
    results["mapping"] = results["compression"].map(lambda name: list(of_compression[name]))
    (axis,) = FIGURES["label_mapping"](report(results, TINY_NAMES), results).figure.axes
    bold = [text.get_text() for text in axis.texts if text.get_weight() == "bold"]
    assert bold == [SOURCE_NAMES[20]]
    assert [text.get_text() for text in axis.texts].count("no evidence") == 3
    assert len(axis.images) == 10 + 3 * 9


def test_what_the_prompt_adds_is_paired_with_the_mapping_alone():
    drawn = FIGURES["prompt_gain"](report(TINY), TINY)
    of = TINY.set_index(["method", "compression"])["accuracy"]
    gains = [of["visual_prompting", name] - of["mapping_only", name] for name in TINY_NAMES]
    dots = [x for line in drawn.figure.axes[0].lines if line.get_marker() == "o" for x in line.get_xdata()]
    assert sorted(dots) == pytest.approx(sorted(gains))
    assert f"{max(gains, key=abs):+.3f}" in drawn.sentence
    alone = TINY[TINY["method"] != "mapping_only"]
    assert FIGURES["prompt_gain"](report(alone), alone) is None


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
        pictures.grid(PICTURES[:7], [*names[:6], "a name on several lines and more of them"], "Samples"),
        backbone_cell.sparsity_by_layer(layers, 0.7),
        backbone_cell.weight_histogram(weights, np.where(abs(weights) < 1, 0, weights)),
    ):
        assert faults(figure) == []


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
    assert len({str(look["ls"]) for look in looks}) == len({look["marker"] for look in looks}) == 3
    assert to_hex(looks[-1]["color"]) == style.GREY


def test_an_unknown_method_is_named():
    with pytest.raises(ValueError, match="'prefix_tuning' has no look; known: mapping_only, visual_prompting"):
        style.methods(["prefix_tuning"])


def test_limits_stay_within_what_is_possible():
    assert panels.within((-3.0, 0.5), (0, 1)) == pytest.approx((-0.03, 0.5))


def test_names_in_a_script_without_a_font_get_an_alias():
    assert style.printable("Ωμέγα ü", "class 3") == "Ωμέγα ü"
    assert style.printable("\U0001f9ff", "class 3") == "class 3"


def with_all_metrics(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(**{metric: frame["ece"] for metric in WORDS if metric not in frame})


def test_results_table_says_mean_interval_and_divergence():
    frame = FULL[(FULL["method"] == "linear_probe") & (FULL["budget"] == "1") & (FULL["target"] == "faces")]
    frame = with_all_metrics(frame[frame["compression"].isin(["dense", "int2"])])
    frame.loc[frame["compression"] == "dense", "accuracy"] = [0.80, 0.85, 0.90]
    table = tables.results(report(frame)).set_index("compression")
    assert table.loc["dense", "test accuracy"] == "0.850 ± 0.124"  # 4.303 x 0.05 / sqrt(3)
    assert table.loc["dense", "runs"] == "3"
    assert table.loc["2-bit weights", "test accuracy"] == "—"
    assert table.loc["2-bit weights", "runs"] == "3 of 3 diverged"
    assert not tables.results(report(with_all_metrics(TINY)))["test accuracy"].str.contains("±").any()


def test_backbones_table_has_nominal_beside_actual():
    table = tables.backbones(report(FULL, COMPRESSIONS)).set_index("compression")
    row = table.loc["90 % sparse (IMP)"]
    assert row["sparsity, nominal (%)"] == "90.0"
    assert row["sparsity, actual (%)"] == "89.99"
    assert row["size (kB)"] == "285"
    assert table.loc["4-bit weights", "bits of a weight"] == "4"
    assert table.loc["4-bit weights", "zero weights (%)"] == "30.00"  # rounded to zero, though none is pruned
    assert row["upstream ECE (debiased)"] == "0.002"


def test_tables_are_written_as_csv_and_markdown(tmp_path):
    table = tables.results(report(with_all_metrics(TINY)))
    save(table, "results", tmp_path)
    read = pd.read_csv(tmp_path / "results.csv", dtype=str, keep_default_na=False)
    assert read.to_numpy().tolist() == table.to_numpy().tolist()
    lines = (tmp_path / "results.md").read_text().splitlines()
    assert len(lines) == 2 + len(table)
    assert lines[2].split("|")[6].strip() == table["test accuracy"][0]


def test_pairs_of_runs_for_the_legacy_quantity_do_not_mix_targets():
    """Within each target the two agree, between targets they do not."""
    frame = make_results(["dense", "int4"], ["digits", "faces"], ("all",))
    steps = frame.groupby(["target", "method"]).cumcount() / 100
    is_faces = frame["target"] == "faces"
    frame["ece"] = 0.05 + steps + 0.2 * ~is_faces
    frame["legacy_ece"] = 0.01 + steps / 10 + 0.05 * is_faces
    table = tables.legacy(report(frame)).set_index("method")
    assert list(table.loc["visual prompt"]) == [30, "0 %"] and len(table) == 4  # 2 × (6 over 2)
    frame.loc[is_faces, "ece"] = 1 - frame["ece"]
    assert tables.legacy(report(frame)).set_index("method").loc["linear probe", "in opposite order"] == "50 %"


def test_scaling_shows_means_of_what_finished_before_and_after():
    done = FULL[(FULL["budget"] == "10") & (FULL["status"] == "ok")]
    means = done.groupby(["target", "method", "compression"])[["ece_debiased", "ece_debiased_scaled"]].mean()
    for axis in full("scaling").axes:
        of_target = means.loc[axis.get_title()].round(9)
        hollow = {round(x, 9) for line in axis.lines if line.get_markerfacecolor() == "white" for x in line.get_xdata()}
        drawn = {round(x, 9) for line in axis.lines if line.get_marker() in "os^D" for x in line.get_xdata()}
        assert hollow == set(of_target["ece_debiased"]) and drawn == set(of_target.to_numpy().ravel())
