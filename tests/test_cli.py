"""The command line: what it prints, its exit codes, and what it hands on to DVC and papermill."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from pipeline import commands, committed, estimates, lock, overview, parallel, pipeline, scales, stage
from pipeline import compare as comparison
from pipeline.cli import main, parser
from pipeline.notebook import NotebookError
from studies import grid
from vpstudy import paths
from vpstudy.data.registry import EMBEDDED


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The default parameters and presets in a folder that may be written to; what would run is a fake."""
    root = paths.ROOT
    for name in ("ROOT", "PARAMS", "NOTEBOOKS", "RESULTS", "TIMINGS", "CELLS", "CODE", "TARGETS", "RENDERED", "LOGS"):
        monkeypatch.setattr(paths, name, tmp_path / getattr(paths, name).relative_to(root))
    paths.PARAMS.write_text(scales.compose("default"))
    monkeypatch.setattr(lock, "repair", lambda root: None)
    monkeypatch.setattr(lock, "snapshot", lambda root: None)
    monkeypatch.setattr(pipeline, "progress_line", lambda name, *_: f"[1 of 3] {name}")
    return tmp_path


def edit(old, new):
    text = paths.PARAMS.read_text()
    assert old in text
    paths.PARAMS.write_text(text.replace(old, new))


def step(name, state="up to date", reason="", seconds=0.0):
    return pipeline.Step(SimpleNamespace(name=name, kind=name.split("@")[0]), state, reason, seconds)


def test_help_comes_at_once_and_loads_nothing_heavy():
    code = (
        "import sys, time; start = time.process_time()\n"
        "from pipeline.cli import parser; parser().format_help()\n"
        "print(time.process_time() - start < 0.3, {'torch', 'pandas', 'dvc', 'pydantic'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "True set()"


def test_commands_load_nothing_heavy():
    heavy = {"torch", "numpy", "pandas", "scipy", "dvc", "papermill", "nbformat"}
    code = f"import sys, pipeline.commands; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"


def test_every_command_has_a_function_and_an_example_that_parses():
    choices = next(action.choices for action in parser()._actions if action.choices)
    for name, command in choices.items():
        assert callable(getattr(commands, name))
        example = command.epilog.removeprefix("example: vpstudy ").split()
        assert parser().parse_args(example).command == name


def test_check_counts_the_cells(project, capsys):
    assert main(["check"]) == 0
    assert (
        "scale default, 65 cells (1 source, 1 imp, 8 compress, 24 transfer, 12 prune_with_prompts, 1 clip_source, "
        "10 prompt, 3 quantize_visual_prompt" in capsys.readouterr().out
    )


@pytest.mark.parametrize("name", scales.presets())
def test_every_scale_is_checked_to_its_backbones_without_being_put_in_place(name, project, capsys):
    before = paths.PARAMS.read_bytes()
    assert main(["check", "--scale", name]) == 0  # though no folder of pictures that it needs is here
    cells = len(grid.cells(scales.parameters(name)))
    assert f"scales/{name}/params.yaml is valid: scale {name}, {cells} cells (" in capsys.readouterr().out
    assert paths.PARAMS.read_bytes() == before


def test_check_tells_what_backbones_from_elsewhere_cannot_do(project, capsys):
    net = "{model: timm/deit_tiny_patch16_224.fb_in1k, location: published}"
    edit(
        "outside: []\nweights: {}",
        f"outside: [net, gone]\nweights:\n  net: {net}\n  gone: {{model: timm/no_such, location: published}}",
    )
    edit(
        "compressions: [dense, imp-0.80, imp-0.90, imp-0.95, magnitude-0.90, int4, int2, w4a4]",
        "compressions: [dense, int4]",
    )
    edit("control_compressions: [dense, imp-0.95]", "control_compressions: [dense]")
    edit("compressions: [dense, imp-0.95, int4]", "compressions: [dense, int4]")
    edit("backbones: [cnn]  # of those in pretrained and outside\n", "backbones: [cnn, net]\n")
    assert main(["check"]) == 2
    printed = capsys.readouterr().err
    assert "hidden_cost.visual_prompting.canvas: 32: 'net' takes only 224 px" in printed
    assert "weights.gone: timm/no_such: timm has no such model" in printed


@pytest.mark.parametrize("words", [["check"], ["plan"], ["repro"], ["run", "source", "cnn"]])
def test_wrong_parameters_stop_every_command_before_it_starts(project, capsys, monkeypatch, words):
    edit("imp-0.95, magnitude", "imp-0.95, imp-1.5, magnitude")
    edit("  budgets: [10, all]", "  budgets: [0]")
    for module, name in ((parallel.Runner, "run"), (stage.notebook, "run"), (pipeline, "plan")):
        monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("started"))
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "2 problems" in printed.err
    assert "compressions.4: 'imp-1.5'" in printed.err
    assert "Traceback" not in printed.err


def test_plan_sums_up_stages_states_and_time(project, capsys, monkeypatch):
    steps = [
        step("code"),
        step("source@cnn", "will run", "source.steps changed", 120),
        *(step(f"transfer@cnn-int4-{n}", "will run", "new", 30) for n in range(4)),
        step("hidden_cost", "may run", "after source@cnn", 60),
    ]
    monkeypatch.setattr(pipeline, "plan", lambda *_: steps)
    monkeypatch.setattr(parallel, "cores", lambda: 2)  # which pretraining takes both of
    assert main(["plan"]) == 0
    lines = capsys.readouterr().out.splitlines()
    grids = "1 backbone × 8 compressions × 3 targets; 1 backbone × 1 target × 12 pruners"
    grids += "; 1 backbone × 1 target × 10 prompters; 1 backbone × 3 compressions × 1 target"
    assert lines[0] == f"Scale default: 65 cells ({grids}), 7 stages"
    words = {line.split()[0]: line.split()[1:] for line in lines[2:] if line.startswith("  ")}
    assert words["code"] == ["1"]
    assert words["source"] == ["1", "1", "2", "min"]
    assert words["transfer"] == ["4", "4", "1", "min"]
    assert words["hidden_cost"] == ["1", "1", "30", "s"]
    assert words["all"] == ["7", "5", "1", "4", "min"]
    assert "  source@cnn: source.steps changed" in lines
    assert "  4 transfer stages: new" in lines
    assert lines[-1] == "Scale default: 6 of 7 stages to run, about 4 min"


def test_plan_says_when_there_is_nothing_to_do(project, capsys, monkeypatch):
    monkeypatch.setattr(pipeline, "plan", lambda *_: [step("code"), step("source@cnn")])
    assert main(["plan"]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1] == "Scale default: all 2 stages are up to date"
    assert "Out of date" not in printed


def test_every_kind_of_stage_has_an_estimate():
    for scale in scales.presets():
        assert set(estimates.seconds(scale)) == {"code", *grid.STAGES}
    assert estimates.seconds("my_own") == estimates.seconds("default")


@pytest.fixture
def dvc(monkeypatch):
    """A fake runner; its exit code can be set, and what it was called with is kept."""
    fake = SimpleNamespace(code=0, words=[])

    def run(runner):
        fake.words.append(tuple(runner.targets))
        return fake.code

    monkeypatch.setattr(parallel.Runner, "run", run)
    monkeypatch.setattr(overview, "summary", lambda parameters: "3 stages to run")
    monkeypatch.setattr(comparison, "report", lambda *_: comparison.Report(["2 of 3 are the same"], False))
    monkeypatch.setattr(committed, "unsaved", lambda: ["1 file differs"])
    return fake


def test_repro_repairs_sums_up_runs_and_compares_in_this_order(project, dvc, capsys, monkeypatch):
    monkeypatch.setattr(lock, "repair", lambda root: "dvc.lock restored")
    assert main(["repro"]) == 0
    printed = capsys.readouterr().out
    parts = ["dvc.lock restored", "3 stages to run", "2 of 3 are the same", "1 file differs"]
    assert [line for line in printed.splitlines() if line] == parts
    assert dvc.words == [()]


def test_repro_hands_targets_on(project, dvc, capsys):
    main(["repro", "source@cnn", "imp"])
    assert dvc.words == [("source@cnn", "imp")]
    assert "3 stages to run" not in capsys.readouterr().out  # that is the number of all


def test_repro_returns_the_exit_code_of_dvc_and_says_how_to_go_on(project, dvc, capsys):
    dvc.code = 255
    assert main(["repro"]) == 255
    printed = capsys.readouterr().out
    assert "exit code 255. `vpstudy repro` continues" in printed
    assert "2 of 3" not in printed


def test_repro_without_anything_to_compare_with_is_no_failure(project, dvc, capsys, monkeypatch):
    def nothing(*_):
        raise ValueError("HEAD holds no results")

    monkeypatch.setattr(comparison, "report", nothing)
    monkeypatch.setattr(committed, "unsaved", nothing)
    assert main(["repro"]) == 0
    assert "not compared: HEAD holds no results" in capsys.readouterr().out


@pytest.fixture
def ran(monkeypatch):
    """What would have been executed."""
    calls = []
    monkeypatch.setattr(stage.notebook, "run", lambda *words, **options: calls.append((words, options)))
    return calls


def test_run_executes_the_notebook_of_a_cell(project, ran, capsys):
    assert main(["run", "transfer", "cnn", "imp-0.80", "digits"]) == 0
    ((notebook, parameters, output), options), = ran  # fmt: skip
    assert notebook == paths.NOTEBOOKS / "30_transfer.ipynb"
    axes = {"backbone": "cnn", "compression": "imp-0.80", "target": "digits"}
    assert parameters == {"scale": "default", **axes, "save": True}
    assert output == paths.CELLS / "default" / "transfer-cnn-imp-0.80-digits.ipynb"
    assert options["threads"] == 1  # cells run side by side
    assert options["timing"] == paths.TIMINGS / "default" / "transfer@cnn-imp-0.80-digits.json"
    assert capsys.readouterr().err == ""  # no DVC above it: what started it tells how far it is


def test_run_under_dvc_tells_how_far_it_is(project, ran, capsys, monkeypatch):
    monkeypatch.setattr(stage.session, "dvc_process", lambda: True)
    assert main(["run", "imp", "cnn"]) == 0
    assert capsys.readouterr().err == "[1 of 3] imp@cnn\n"


def test_run_renders_a_final_notebook_where_it_is_committed(project, ran):
    assert main(["run", "hidden_cost"]) == 0
    ((_, parameters, output), _), = ran  # fmt: skip
    assert parameters == {"scale": "default", "save": True}
    assert output == paths.RENDERED / "default" / "90_hidden_cost.ipynb"


def test_pages_go_where_dvc_looks_for_them():
    from pipeline.definition import stages
    from studies import parameters as study

    outputs = {one.name: {out.path for out in one.outs} for one in stages(paths.ROOT)}
    for cell in grid.cells(study.load(paths.PARAMS)):
        assert stage.output(cell).relative_to(paths.ROOT).as_posix() in outputs[cell.name]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["transfer", "cnn", "int3", "digits"],
            "compression: 'int3' is not in params.yaml;",
        ),
        (["transfer", "cnn"], "transfer takes: backbone compression target"),
        (["transfr"], "'transfr' is no stage; allowed: pictures, source"),
    ],
)
def test_run_refuses_what_is_no_cell(project, ran, capsys, words, said):
    assert main(["run", *words]) == 2
    assert said in capsys.readouterr().err
    assert ran == []


def test_run_tells_a_failure_shortly(project, capsys, monkeypatch):
    def fails(*_, **__):
        raise NotebookError("code cell 3: KeyError: 'x'", project / "failed.ipynb")

    monkeypatch.setattr(stage.notebook, "run", fails)
    assert main(["run", "source", "cnn"]) == 1
    printed = capsys.readouterr().err
    assert "source cnn: code cell 3: KeyError: 'x'" in printed
    assert "failed.ipynb" in printed
    assert "Traceback" not in printed


def notebook(value, output="1"):
    out = {"output_type": "stream", "name": "stdout", "text": output}
    code = {"cell_type": "code", "id": "a", "metadata": {"tags": ["parameters"]}, "source": f"seed = {value}"}
    cells = [code | {"outputs": [out], "execution_count": 1}]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def test_code_lists_what_cells_depend_on_and_removes_stale_lists(project, capsys):
    paths.NOTEBOOKS.mkdir()
    for kind in grid.STAGES.values():
        (paths.NOTEBOOKS / f"{kind.notebook}.ipynb").write_text(notebook(1))
    for name in ("pictures", *EMBEDDED):
        module = paths.ROOT / "vpstudy" / "data" / f"{name}.py"
        module.parent.mkdir(parents=True, exist_ok=True)
        module.write_text("")
    paths.CODE.mkdir(parents=True)
    (paths.CODE / "gone.json").write_text("{}")
    assert main(["code"]) == 0
    assert capsys.readouterr().out == "17 lists of modules written to data/code\n"
    assert {path.stem for path in paths.CODE.iterdir()} == set(grid.STAGES)
    assert {path.stem for path in paths.TARGETS.iterdir()} == set(EMBEDDED)
    before = (paths.CODE / "imp.json").read_bytes()
    (paths.NOTEBOOKS / "15_imp.ipynb").write_text(notebook(2, "tried another value"))
    assert main(["code"]) == 0
    assert (paths.CODE / "imp.json").read_bytes() == before


def test_targets_are_listed_and_what_to_do_for_one_is_told(project, capsys):
    edit("pictures: {}", "pictures: {mine: {imagefolder: here}}")
    assert main(["targets"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    expected = ["digits embedded", "cifar10 CIFAR-10 (torchvision CIFAR10)", "mine your own (there is no folder here)"]
    assert [line for line in lines if line in expected] == expected
    (project / "here").mkdir()
    assert main(["targets", "mine"]) == 0
    assert "mine  your own (here)" in capsys.readouterr().out
    assert main(["targets", "cars"]) == 0
    assert "the address that torchvision knows is dead" in capsys.readouterr().out
    assert main(["targets", "digits"]) == 0
    assert main(["targets", "nonsense"]) == 2


def test_scale_lists_marks_and_changes(project, capsys):
    assert main(["scale"]) == 0
    assert {line[:9] for line in capsys.readouterr().out.splitlines()} >= {"* default", "  smoke  "}
    assert main(["scale", "smoke"]) == 0
    kept = [path.relative_to(paths.RESULTS / "smoke") for path in (paths.RESULTS / "smoke").rglob("*")]
    assert sorted(map(str, kept)) == ["pictures", "pictures/.gitkeep"]  # on which DVC's stages depend
    edit("threads: 2", "threads: 3")
    assert main(["scale", "default"]) == 2
    assert "execution.threads: 3 (in scale smoke: 2)" in capsys.readouterr().err
    assert main(["scale", "default", "--force"]) == 0
    assert "kept as params.edited.yaml" in capsys.readouterr().out
    assert main(["scale", "nonsense"]) == 2


@pytest.mark.parametrize(("agrees", "code"), [(True, 0), (False, 1)])
def test_compare_tells_by_its_exit_code(project, capsys, monkeypatch, agrees, code):
    asked = []
    report = comparison.Report(["compared"], agrees)
    monkeypatch.setattr(comparison, "report", lambda revision: asked.append(revision) or report)
    monkeypatch.setattr(committed, "unsaved", lambda: ["git add data/results"])
    assert main(["compare", "--against", "v1"]) == code
    assert capsys.readouterr().out == "compared\n\ngit add data/results\n"
    assert asked == ["v1"]


def test_compare_without_a_repository_is_one_message(project, capsys):
    assert main(["compare"]) == 2
    assert "no git repository" in capsys.readouterr().err


def test_repair_says_what_it_did(project, capsys, monkeypatch):
    assert main(["repair"]) == 0
    assert capsys.readouterr().out == "nothing to repair in dvc.lock\n"
    monkeypatch.setattr(lock, "repair", lambda root: "dvc.lock was restored")
    assert main(["repair"]) == 0
    assert capsys.readouterr().out == "dvc.lock was restored\n"


def test_an_interrupted_command_leaves_no_traceback(project, monkeypatch, capsys):
    def interrupted(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "check", interrupted)
    assert main(["check"]) == 130
    assert capsys.readouterr().err == ""
