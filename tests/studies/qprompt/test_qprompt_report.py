"""The reports of the qprompt study: cells on tiny CLIPs in, tables and figures out; scales without some of them."""

import pandas as pd
import pytest
from running import run
from texts import faults

from studies import grid, results
from studies.claims.verdict import NOT_RUN
from studies.qprompt import cell_tables
from studies.qprompt.every_class_cells import FewShotCell, OtherPicturesCell
from studies.qprompt.labels import words
from studies.qprompt.multimodal_cell import MultimodalCell
from studies.qprompt.prompt_cell import PromptCell
from studies.qprompt.report import QpromptReport

CELLS = {
    "prompt": PromptCell,
    "few_shot": FewShotCell,
    "multimodal": MultimodalCell,
    "other_pictures": OtherPicturesCell,
}


@pytest.fixture(scope="module")
def done(small):
    """Parameters of which every cell has a result: two of text prompts, two for every class, and one of both towers."""
    p = small(
        qprompt={"axes": {"prompters": ["coop", "qcoop"]}, "settings": {"seeds": [0, 1]}},
        few_shot={"settings": {"seeds": [0, 1]}},
        other_pictures={"settings": {"seeds": [0, 1]}},
        multimodal={"settings": {"bits": [4]}},
    )
    for stage, kind in CELLS.items():
        for cell in grid.cells(p, stage):
            this = kind(p, *dict(cell.axes).values())
            results.write(results.path(cell), [this.result(run(this))])
    yield p
    for stage in CELLS:
        for cell in grid.cells(p, stage):
            results.path(cell).unlink()


@pytest.fixture(scope="module")
def report(done):
    return QpromptReport(done, save=False)


def axes(report, name: str):
    """The axes of a figure of the only architecture that it shows, after a look at its texts."""
    (drawn,) = report.drawn(name).values()
    assert faults(drawn.figure) == [] and drawn.sentence.endswith(".")
    return drawn.figure.axes


def rows(axis) -> list[str]:
    return [label.get_text() for label in axis.get_yticklabels()]


def test_every_prompter_is_shown(report, capsys):
    report.coverage()
    assert "0 seeds" not in capsys.readouterr().out
    for name in ("size", "curves", "weights", "histograms", "controls"):
        axes(report, name)
    curves = axes(report, "curves")
    assert [axis.get_title() for axis in curves[: len(curves) // 2]] == ["bits"]  # no noise, no other prompter
    assert all(len(axis.get_lines()) == 2 for axis in curves)  # CoOp and QCoOp
    assert report.drawn("codebooks") == {"codebooks": None}  # no other codebook was run
    labels = rows(axes(report, "prompters_accuracy")[0])
    assert labels == ["CoOp", "CoOp, then 1 bit", "QCoOp, 1 bit"]
    made = {name: make(report) for name, make in report.tables.items()}
    assert list(made["sizes"]["arm"]) == labels
    assert list(made["refits"]["arm"]) == ["QCoOp, 1 bit"]
    mean = report.runs.query("prompter == 'coop' and arm == 'full' and group == 'new'")["accuracy"].mean()
    assert made["published"].set_index("method").loc["CoOp", "here, new"] == f"{100 * mean:.2f}"
    results = made["results"]
    assert len(results) == 3 * 3
    assert set(results.loc[results["on"] == "H", "debiased ECE"]) == {"—"}  # H is of accuracy alone


def test_controls_are_compared_in_pairs(report):
    why = report.tables["why"](report).set_index("QCoOp less")
    assert why.loc["KgCoOp", "new: so"] == NOT_RUN != why.loc["CoOp", "new: so"]


@pytest.mark.parametrize(
    ("name", "lines"), [("few_shot", ["1", "2"]), ("other_pictures", ["as learned", "inverted", "letters"])]
)
def test_prompts_for_every_class_have_a_column_for_each_arm_and_for_quantized_ones_less_coop(report, name, lines):
    axes(report, name)
    table = report.tables[f"{name}_table"](report)
    assert list(table.columns[2:]) == ["zero-shot", "CoOp", "QCoOp, 1 bit", "QCoOp, 1 bit − CoOp"]
    assert list(table.iloc[:, 1]) == lines and set(table["target"]) == {"digits"}
    accuracy = report.every_class[name].query("arm == 'full'")["accuracy"]
    assert table.loc[0, "CoOp"].startswith(f"{accuracy.iloc[:: len(lines)].mean():.3f} ± ")


def test_each_target_has_lines_of_its_own(report, monkeypatch):
    for name in ("few_shot", "other_pictures"):
        mine = report.every_class[name]
        better = mine.assign(target="letters", accuracy=mine["accuracy"] + 0.1 * (mine["arm"] == "qat-1"))
        monkeypatch.setitem(report.every_class, name, pd.concat([mine, better]))
        table = report.tables[f"{name}_table"](report).groupby("target", sort=False).first()
        less = table.loc[["digits", "letters"], "QCoOp, 1 bit − CoOp"]
        first, second = (float(text.split()[0].replace("−", "-")) for text in less)
        assert second - first == pytest.approx(0.1, abs=2e-3)
        drawn = axes(report, name)
        assert [axis.get_title() for axis in drawn] == ["digits", "letters"]


def test_other_pictures_are_drawn_as_differences_in_pairs(report):
    (axis,) = axes(report, "other_pictures")
    runs = report.every_class["other_pictures"].set_index(["group", "seed", "arm"])["accuracy"].unstack()
    assert rows(axis) == ["as learned", "inverted", "letters"]
    drawn = {round(float(x), 6) for line in axis.get_lines() for x in line.get_xdata()}
    means = runs.sub(runs["full"], axis=0).groupby("group").mean()
    for arm in ("qat-1", "zero-shot"):
        assert {round(value, 6) for value in means[arm]} <= drawn


def test_prompts_for_both_towers_stand_beside_the_paper_s(report):
    table = report.tables["multimodal_table"](report).set_index("arm")
    named = [words(arm) for arm in (("maple", "full"), ("maple", "ptq-4"), ("qmaple", "qat-4"), ("zero_shot", "one"))]
    assert list(table.index) == named
    assert list(table.loc["QMaPLe, 4 bits", ["paper, base", "paper, new", "paper, H"]]) == ["83.02", "75.57", "79.12"]
    assert table.loc["MaPLe", "paper, bytes"] == "7,096,320"
    assert table.loc["MaPLe, then 4 bits", "paper, H"] == "—"
    drawn = axes(report, "multimodal")
    assert [axis.get_title() for axis in drawn] == ["base", "new", "H"] and rows(drawn[0]) == named


def test_a_scale_without_the_cells_says_so(done, small, capsys):
    none = {"axes": {"backbones": []}}
    p = small(few_shot=none, other_pictures=none, multimodal=none)
    settings = {"qprompt": done.qprompt, "clips": done.clips}
    report = QpromptReport(p.model_copy(update=settings), save=False)
    for name in ("few_shot", "other_pictures_table", "multimodal", "multimodal_table"):
        report.show(name)
    assert capsys.readouterr().out.split() == NOT_RUN.split() * 4
    assert all(runs.empty for runs in report.every_class.values())


def test_tables_of_a_cell_are_means_over_seeds(report):
    contents = [c["rows"] for c in report.contents if c["cell"]["prompter"] == "qcoop"]
    (table,) = map(cell_tables.base_and_new, contents)
    base = report.runs.query("arm == 'qat-1' and group == 'base'")["accuracy"].mean()
    h = report.runs.query("arm == 'qat-1' and group == 'H'")["accuracy"].mean()
    assert list(table.loc[0, ["base", "harmonic mean"]]) == pytest.approx([base, h], abs=6e-4)
