"""What reports share: tables and figures kept where asked, studies left out, effects as text."""

import copy
import html
import math
import re
import shutil
from types import SimpleNamespace
from typing import ClassVar

import pandas as pd
import pytest
from running import run_notebook

from pipeline import scales
from studies import grid
from studies import parameters as study_parameters
from studies.claims import ledger
from studies.claims import report as claims
from studies.claims.conclusions import conclusions
from studies.claims.verdict import VERDICTS
from studies.figures import style, tables
from studies.figures.sentences import Drawn
from studies.hidden_cost.report import HiddenCostReport
from studies.parameters import STUDIES, read, validate
from studies.report import Report, with_columns
from vpstudy import paths


def drawn(*_) -> Drawn:
    figure, _ = style.new_figure(1, 1, 1.0)
    style.caption(figure, "A title")
    return Drawn(figure, "A sentence.")


class Some(Report):
    study = "some"
    figures: ClassVar = {"picture": drawn, "none": lambda *_: None}
    tables: ClassVar = {"numbers": lambda _: pd.DataFrame({"a": [1]}), "empty": lambda _: pd.DataFrame({"a": []})}

    def runs_of(self, name):
        return pd.DataFrame({"backbone": ["cnn", "vit"] if name == "picture" else ["cnn"]})


@pytest.mark.parametrize("save", [True, False])
def test_tables_and_figures_are_kept_where_asked(save, tmp_path, monkeypatch, capsys):
    for place in ("FIGURES", "VECTORS"):
        monkeypatch.setattr(paths, place, tmp_path / place)
    report = Some(scales.parameters("default"), save)
    for name in ("numbers", "empty", "picture", "none"):
        report.show(name)
    assert capsys.readouterr().out.count("not run at this scale") == 2
    found = {path.name for path in tmp_path.rglob("*.*")}
    pictures = {f"picture-{name}.{kind}" for name in ("cnn", "vit") for kind in ("png", "svg", "pdf")}
    assert found == ({"numbers.csv", "numbers.md", *pictures} if save else set())
    titles = [drawn.figure.texts[0].get_text() for drawn in report.drawn("picture").values()]
    assert titles == ["A title (cnn)", "A title (vit)"]


def test_tables_are_shown_whole_aligned_and_the_same_each_time():
    long = "a statement of more than fifty characters, which pandas would cut at the fiftieth & escape <b>"
    table = pd.DataFrame(
        {"claim": ["H1", "H2"], "verdict": ["reproduced", "contradicted"], "statement": [long, "short"]}
    )
    table["effect"] = ["+0.010 [-0.002, +0.022]", "—"]
    text = tables.html(table)
    assert text == tables.html(table.copy())
    linked = re.findall(r'<a href="([^"]+)">([^<]*)</a>', tables.html(table, ["one.html", "two.html"]))
    assert linked == [("one.html", "H1"), ("two.html", "H2")]
    names = {re.search(r'table id="(\w+)"', tables.html(each))[1] for each in (table, table.iloc[:1])}
    assert len(names) == 2  # rules of one table on a page do not reach another
    assert html.escape(long) in text and "<b>" not in text
    cells = {value: style for style, value in re.findall(r'<td id="(\w+)"[^>]*>([^<]*)</td>', text)}
    rules = {
        name: rule
        for names, rule in re.findall(r"([#\w, ]+) \{([^}]*)\}", text)
        for name in re.findall(r"#(\w+)", names)
    }
    assert "left" in rules[cells["short"]] and "right" in rules[cells["—"]]
    assert tables.COLOURS["reproduced"] in rules[cells["reproduced"]]
    assert tables.COLOURS["contradicted"] in rules[cells["contradicted"]]


def test_results_without_metrics_have_their_columns():
    read = SimpleNamespace(frame=pd.DataFrame({"seed": [0], "accuracy": [0.5]}))
    assert list(with_columns(read, "accuracy", "nll").columns) == ["seed", "accuracy", "nll"]


def test_effects_are_told_with_their_interval():
    effect = SimpleNamespace(mean=0.01234, low=-0.0021, high=0.0219)
    assert tables.interval_text(effect) == "+0.012 [-0.002, +0.022]"
    assert tables.interval_text(effect, 4) == "+0.0123 [-0.0021, +0.0219]"
    assert tables.interval_text(SimpleNamespace(mean=-0.5, low=math.nan, high=math.nan)) == "-0.500"


@pytest.fixture
def only(committed_results, tmp_path, monkeypatch):
    """Parameters that hold one study alone; what is kept goes to a temporary folder."""
    monkeypatch.setattr(paths, "RESULTS", committed_results)
    for name in ("FIGURES", "VECTORS"):
        monkeypatch.setattr(paths, name, tmp_path / name.lower())
    monkeypatch.setattr(ledger, "path", lambda scale: tmp_path / f"{scale}.json")

    def put(study):
        content = copy.deepcopy(read(paths.SCALES / "default/params.yaml")) | {"clips": [], "backbones": []}
        for name in {*STUDIES} - {study}:
            content[name]["axes"]["backbones"] = []
        content["backbones"] = ["cnn"] if study == "hidden_cost" else []
        parameters = validate(content, "params.yaml")
        monkeypatch.setattr(study_parameters, "load", lambda: parameters)
        return parameters

    return put


def run_final(stage, save=True):
    return run_notebook(grid.STAGES[stage].notebook, save=save)


@pytest.mark.parametrize(
    ("stage", "other"), [("hidden_cost", "vpns"), ("vpns", "hidden_cost"), ("qprompt", "vpns"), ("across", "vpns")]
)
def test_a_study_that_is_left_out_says_so(stage, other, only, capsys):
    only(other)
    run_final(stage)
    lines = capsys.readouterr().out.splitlines()
    assert lines and set(lines) == {"not run at this scale"}
    assert [path.name for path in (paths.FIGURES / "default" / stage).iterdir()] == ["not_run.md"]


@pytest.fixture
def without(committed_results, tmp_path, monkeypatch):
    """The committed results without those whose names hold a word, in a temporary folder."""
    monkeypatch.setattr(paths, "RESULTS", committed_results)

    def remove(word):
        shutil.copytree(committed_results / "default", tmp_path / "results/default")
        removed = [file for file in (tmp_path / "results").rglob("*.json") if word in file.name]
        for file in removed:
            file.unlink()
        monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
        monkeypatch.setattr(study_parameters, "load", lambda: scales.parameters("default"))
        return removed

    return remove


@pytest.mark.parametrize("stage", ["hidden_cost", "vpns", "qprompt", "across", "claims"])
def test_before_any_run_a_final_notebook_says_what_to_run(stage, without, capsys):
    assert without("json")
    run_final(stage, save=False)
    printed = capsys.readouterr().out
    assert "nothing has been run yet: `make repro`" in printed or stage == "claims"
    assert "missing: " in printed and "`vpstudy repro " in printed


@pytest.mark.parametrize("stage", ["vpns", "qprompt", "across", "claims"])
def test_without_some_results_a_final_notebook_shows_the_others_and_names_these(stage, without, capsys):
    gone = [file.stem for file in without("coop" if stage == "qprompt" else "dense")]
    run_final(stage, save=False)
    printed = capsys.readouterr().out
    assert any(f"missing: {name.replace('-', '@', 1)}" in printed for name in gone)


def test_changes_against_dense_are_not_shown_without_dense(without, capsys):
    without("dense")
    report = HiddenCostReport(scales.parameters("default"), save=False)
    report.show("change_heatmap")
    assert "not shown, as results are missing that it needs\nmissing: " in capsys.readouterr().out
    assert len(report.tables["results"](report))


def test_an_error_with_all_results_there_stays_an_error(without):
    class Faulty(Report):
        study = "vpns"
        tables: ClassVar = {"figure": lambda _: {}["mapping"]}

    report = Faulty(scales.parameters("default"), save=False)
    with pytest.raises(KeyError, match="mapping"):
        report.show("figure")
    without("prune_with_prompts")
    report.show("figure")


def test_a_notebook_that_is_tried_changes_nothing_on_disk(only, tmp_path):
    only("vpns")
    run_final("across", save=False)
    assert list(tmp_path.iterdir()) == []


def test_claims_of_what_is_left_out_are_not_run(only):
    only("vpns")
    power = run_final("claims")["claims"].expected_power()
    assert power["claim"].tolist() == [claim.id for claim in claims.vpns.CLAIMS]
    records = ledger.read("default")
    every = [claim.id for module in (claims.hidden_cost, claims.vpns, claims.qprompt) for claim in module.CLAIMS]
    assert [record["id"] for record in records] == every
    verdicts = {
        study: {r["verdict"] for r in records if r["study"] == study} for study in ("hidden_cost", "vpns", "qprompt")
    }
    assert verdicts["hidden_cost"] == verdicts["qprompt"] == {"not run at this scale"}
    assert verdicts["vpns"] - {"not run at this scale"}  # from its committed results


def test_conclusions_name_what_is_decided_and_count_what_is_open():
    found = [{"label": "imp", "effect": -0.05, "low": -0.08, "high": -0.02}]
    entry = {"statement": "VP loses", "unit": "accuracy", "findings": found, "networks": 10, "reading": "reproduced"}
    one = entry | {"verdict": "cannot tell: one network", "networks": 1}
    entries = [
        entry | {"id": "H1", "verdict": "reproduced"},
        entry | {"id": "H2", "verdict": "inconclusive"},
        one | {"id": "H3"},
        one | {"id": "H4", "reading": "contradicted"},
        entry | {"id": "H5", "verdict": "not tested"},
    ]
    assert conclusions(entries).splitlines() == [
        "- **1 of 5 reproduced:**",
        "    - H1: VP loses (accuracy -0.050 [-0.080, -0.020]; 10 networks)",
        "- **1 of 5 inconclusive:** H2.",
        "- **2 of 5 cannot be told from one network.** In this one: reproduced H3; contradicted H4.",
        "- **1 of 5 not tested:** H5.",
    ]


def test_several_numbers_of_a_cell_stand_below_each_other_and_every_verdict_has_a_colour():
    table = pd.DataFrame({"effect": ["+0.1; -0.2", "< 0.001"], "verdict": ["not tested", "cannot tell: one network"]})
    text = tables.html(table)
    assert "+0.1\n-0.2" in text and "&lt; 0.001" in text
    assert set(VERDICTS) == tables.COLOURS.keys() and len(set(tables.COLOURS.values())) == 4
