"""The command line: what it prints, its exit codes, and the jobs that cells become."""

import json
import subprocess
import sys

import pytest

from pipeline import cell_job, commands, compare, notebook, plan, scales, stages
from pipeline.cli import main, parser
from pipeline.timings import Estimate
from studies import grid
from studies import parameters as study
from vpstudy import paths
from vpstudy.data.registry import EMBEDDED


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The default parameters and presets in a folder that may be written to."""
    root = paths.ROOT
    for name in ("ROOT", "PARAMS", "RESULTS", "TIMINGS", "CELLS", "CODE", "TARGETS", "RENDERED", "LOGS"):
        monkeypatch.setattr(paths, name, tmp_path / getattr(paths, name).relative_to(root))
    paths.PARAMS.write_text(scales.compose("default"))
    return tmp_path


def edit(old, new):
    text = paths.PARAMS.read_text()
    assert old in text
    paths.PARAMS.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("cli", {"torch", "pandas", "dvc", "pydantic", "distributed"}),
        ("commands", {"torch", "pandas", "scipy", "dvc", "papermill", "nbformat", "distributed"}),
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(module, heavy):
    code = f"import sys, pipeline.{module}; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"


def test_every_command_has_a_function_and_an_example_that_parses():
    choices = next(action.choices for action in parser()._actions if action.choices)
    for name, command in choices.items():
        assert callable(getattr(commands, name))
        example = command.epilog.removeprefix("example: vpstudy ").split()
        assert parser().parse_args(example).command == name


@pytest.mark.parametrize("name", scales.presets())
def test_every_scale_is_checked_to_its_backbones_without_being_put_in_place(name, project, capsys):
    before = paths.PARAMS.read_bytes()
    assert main(["check", "--scale", name]) == 0  # though no folder of pictures that it needs is here
    cells = len(grid.cells(scales.parameters(name)))
    assert f"scales/{name}/params.yaml is valid: scale {name}, {cells} cells (" in capsys.readouterr().out
    assert paths.PARAMS.read_bytes() == before


@pytest.mark.parametrize("words", [["check"], ["plan"], ["repro"], ["run", "source", "cnn"]])
def test_wrong_parameters_stop_every_command_before_it_starts(project, capsys, monkeypatch, words):
    edit("imp-0.95, imp", "imp-0.95, imp-1.5, imp")
    edit("  budgets: [10, all]", "  budgets: [0]")
    for module, name in ((stages, "Stages"), (notebook, "run")):
        monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("started"))
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "2 problems" in printed.err
    assert "compressions.3: 'imp-1.5'" in printed.err
    assert "Traceback" not in printed.err


def test_a_cell_becomes_a_run_of_its_notebook_at_the_place_that_dvc_looks_for():
    parameters = study.load(paths.SCALES / "default/params.yaml")
    cell = cell_job.asked_for(parameters, "transfer", "cnn", "imp-0.80", "digits")
    job = cell_job.job(cell, parameters)
    assert job.notebook == paths.NOTEBOOKS / "30_transfer.ipynb"
    expected = {"backbone": "cnn", "compression": "imp-0.80", "target": "digits", "save": True}
    assert expected.items() <= job.values.items()
    assert job.output == paths.CELLS / "default/transfer-cnn-imp-0.80-digits.ipynb"
    assert job.timing == paths.TIMINGS / "default/transfer@cnn-imp-0.80-digits.json"
    assert job.threads == 1
    final = cell_job.job(cell_job.asked_for(parameters, "hidden_cost"), parameters)
    assert final.output == paths.RENDERED / "default/90_hidden_cost.ipynb"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["transfer", "cnn", "int3", "digits"], "compression: 'int3'; allowed: dense"),
        (["transfer", "cnn"], "transfer takes: backbone compression target; given: cnn"),
        (["transfr"], "'transfr' is no stage; allowed: pictures, source"),
    ],
)
def test_run_refuses_what_is_no_cell(project, capsys, monkeypatch, words, said):
    monkeypatch.setattr(notebook, "run", lambda *_: pytest.fail("started"))
    monkeypatch.setattr("pipeline.kernel_process.die_with_parent", lambda: None)
    assert main(["run", *words]) == 2
    assert said in capsys.readouterr().err


def test_run_tells_a_failure_shortly(project, capsys, monkeypatch):
    def fails(job):
        raise notebook.NotebookError("code cell 3: KeyError: 'x'")

    monkeypatch.setattr("pipeline.kernel_process.die_with_parent", lambda: None)
    monkeypatch.setattr(notebook, "run", fails)
    assert main(["run", "source", "cnn"]) == 1
    assert capsys.readouterr().err == "source cnn: code cell 3: KeyError: 'x'\n"


def test_code_lists_what_cells_depend_on_and_removes_stale_lists(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(paths, "CODE", tmp_path / "code")
    monkeypatch.setattr(paths, "TARGETS", tmp_path / "targets")
    paths.CODE.mkdir(parents=True)
    (paths.CODE / "gone.json").write_text("{}")
    cell_job.write_code_lists()
    assert {path.stem for path in paths.CODE.iterdir()} == set(grid.STAGES)
    assert {path.stem for path in paths.TARGETS.iterdir()} == set(EMBEDDED)
    listed = json.loads((paths.CODE / "transfer.json").read_text())
    assert {"notebooks/30_transfer.ipynb", "studies/hidden_cost/cell.py", "vpstudy/runtime.py"} <= listed.keys()


def test_targets_are_listed_and_what_to_do_for_one_is_told(project, capsys):
    edit("pictures: {}", "pictures: {mine: {imagefolder: here}}")
    assert main(["targets"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert {"digits embedded", "cifar10 CIFAR-10 (torchvision CIFAR10)"} <= set(lines)
    (project / "here").mkdir()
    assert main(["targets", "mine"]) == 0
    assert "mine  your own (here)" in capsys.readouterr().out
    assert main(["targets", "digits"]) == 0
    assert main(["targets", "nonsense"]) == 2


def test_scale_lists_marks_and_changes(project, capsys):
    assert main(["scale"]) == 0
    assert {line[:9] for line in capsys.readouterr().out.splitlines()} >= {"* default", "  smoke  "}
    assert main(["scale", "smoke"]) == 0
    kept = [path.relative_to(paths.RESULTS / "smoke") for path in (paths.RESULTS / "smoke").rglob("*")]
    assert sorted(map(str, kept)) == ["pictures", "pictures/.gitkeep"]  # on which DVC's stages depend
    edit("\n  threads: 1", "\n  threads: 3")
    assert main(["scale", "default"]) == 2
    assert "execution.threads: 3 (in scale smoke: 1)" in capsys.readouterr().err
    assert main(["scale", "nonsense"]) == 2


def test_compare_exits_with_what_it_found(project, capsys, monkeypatch):
    monkeypatch.setattr(compare, "unsaved", list)
    for agrees in (True, False):
        monkeypatch.setattr(compare, "report", lambda against, agrees=agrees: compare.Report([against], agrees, {}))
        assert main(["compare", "--against", "HEAD~1"]) == (not agrees)
        assert capsys.readouterr().out == "HEAD~1\n"


class Stages:
    """Stages of which some are out of date, as far as a plan looks."""

    def __init__(self, due):
        self.by_name = {"code": None, "source@cnn": None, **{f"transfer@{n}": None for n in "abcd"}}
        self.due = due

    def out_of_date(self, names):
        return self.due

    def children(self, name):
        return []


def planned(due, folder):
    return plan.plan(Stages(due), Estimate(Stages(due), folder, lambda name: 1), 2)


def test_plan_says_what_runs_and_why_by_kind_and_tells_times_that_it_knows(tmp_path):
    due = {"source@cnn": "source.steps changed", **{f"transfer@{n}": f"{n} changed" for n in "abcd"}}
    assert planned(due, tmp_path)[0] == "5 of 6 stages to run, no time known:"
    (tmp_path / "transfer@a.json").write_text('{"seconds": 60}')
    assert planned(due, tmp_path) == [
        "5 of 6 stages to run, about 2 min, a guess for source:",
        "  source@cnn: source.steps changed",
        "  4 transfer stages: a changed, b changed, c changed, …",
    ]
    lines = planned({"source@cnn": "new", "transfer@a": "after source@cnn"}, tmp_path)
    assert lines[1:] == ["  source@cnn: new", "  1 that depend on these, if they come out otherwise"]
    assert planned({}, tmp_path) == ["All 6 stages are up to date"]


def test_plan_in_a_fresh_clone_is_short(tmp_path):
    due = dict.fromkeys(Stages({}).by_name, "data/x is deleted")
    (line,) = planned(due, tmp_path)
    assert line.startswith("Nothing has been run here yet: `vpstudy repro` runs all 6 stages")
