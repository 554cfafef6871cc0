"""A real network beside the small ones: the cell, what it shares, what is refused, and its figure."""

import copy
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from running import run_notebook
from texts import faults

from studies import allowed, grid, results
from studies import parameters as study_parameters
from studies.hidden_cost import output, real_network_figure
from studies.hidden_cost.cell import TransferCell
from studies.hidden_cost.real_network_cell import RealNetworkCell
from studies.parameters import read, validate
from vpstudy import paths
from vpstudy.models import backbones
from vpstudy.models.architectures import ARCHITECTURES, Architecture
from vpstudy.settings import ParameterError

ENTRY = {"model": "timm/resnet10t", "location": "$FILE", "sha256": "0" * 64}
AXES = {"backbones": ["other"], "compressions": ["dense", "reconstructed-0.50", "w8a8-mse"], "targets": ["digits"]}


def content(**axes) -> dict:
    of = copy.deepcopy(read(paths.SCALES / "default/params.yaml"))
    of["weights"]["other"], of["outside"] = ENTRY, [*of["outside"], "other"]
    of["real_network"] = {"axes": AXES | axes, "settings": {"size": 16, "mapping": "bayesian_plus"}}
    of["hidden_cost"]["settings"] |= {"seeds": [0], "budgets": [1, "all"], "fine_tuning_budgets": ["all"]}
    return of


@pytest.fixture(scope="module")
def using(tmp_path_factory):
    """Parameters with a tiny network from elsewhere, whose file is there."""
    folder = tmp_path_factory.mktemp("data")
    architecture = Architecture("other", ARCHITECTURES["cnn"].model, ARCHITECTURES["cnn"].arguments)
    source = backbones.Backbone(architecture, [*map(str, range(10)), "dog", "cat"], seed=5)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MODELS", "RESULTS"):
            patch.setattr(paths, name, folder / name.lower())
        backbones.save(source, paths.MODELS / "default/other/source/0.safetensors")
        yield validate(content(), "params.yaml")


@pytest.fixture(scope="module")
def done(using):
    """Cell, outcomes and result by compression."""
    found = {}
    for name in AXES["compressions"]:
        cell = RealNetworkCell(using, "other", name, "digits")
        outcomes = cell.mapping_only() + cell.linear_probe()
        found[name] = cell, outcomes, cell.result(outcomes)
    return found


def test_rows_are_agreement_and_then_every_run(done):
    for name, (_, _, result) in done.items():
        upstream, *rows = result["rows"]
        arms = [(method, budget) for method in ("mapping_only", "linear_probe") for budget in ("1", "all")]
        assert upstream["method"] == "upstream" and [(row["method"], row["budget"]) for row in rows] == arms
        assert (upstream["metrics"]["accuracy"] == 1) == (name == "dense")
        assert result["facts"]["compressed"]["sparsity"] == (0.5 if name == "reconstructed-0.50" else 0)
    assert done["w8a8-mse"][2]["rows"][0]["metrics"]["accuracy"] > 0.5


def test_every_picture_passes_the_network_once_at_its_size(using, monkeypatch):
    cell, passed = RealNetworkCell(using, "other", "dense", "digits"), []
    hook = cell.frozen.model.register_forward_pre_hook(lambda _, seen: passed.append(seen[0].shape))
    cell.mapping_only(), cell.linear_probe()
    hook.remove()
    assert sum(shape[0] for shape in passed) == len(cell.data.labels) and {shape[2:] for shape in passed} == {(16, 16)}


def test_probe_and_mapping_are_those_of_the_plain_cell_at_that_size(done, using):
    of = content()
    settings, of["across"]["axes"]["backbones"] = of["hidden_cost"]["settings"], []  # that study quantizes borders
    settings["linear_probe"]["size"] = 16
    whole = {"canvas": 16, "prompt": "full", "prompts": {"full": {}}, "mapping": "bayesian_plus"}
    settings["visual_prompting"] |= whole
    plain = TransferCell(validate(of, "params.yaml"), "other", "dense", "digits")
    rows = output.result(plain, plain.mapping_only() + plain.linear_probe())["rows"]
    assert rows == done["dense"][2]["rows"][1:]


def test_the_notebook_writes_the_result_of_the_cell(done, using, monkeypatch):
    for module in (study_parameters, allowed):
        monkeypatch.setattr(module, "load", lambda: using)
    run_notebook("31_real_network", backbone="other", compression="dense", target="digits", save=True)
    cell, _, result = done["dense"]
    assert cell.cell in grid.cells(using, "real_network")
    (written,) = results.read([cell.cell]).contents
    assert (written["rows"], written["facts"]) == (result["rows"], result["facts"])


CASES = {
    "pretrained here": ({"backbones": ["cnn"]}, "axes.backbones: 'cnn' is no classifier of outside; allowed: lite0"),
    "no dense": ({"compressions": ["w8a8-mse"]}, "axes.compressions: 'dense' is missing"),
    "trains on the source": ({"compressions": ["dense", "w4a4-lsq"]}, "'w4a4-lsq' trains on the source"),
    "noise": ({"compressions": ["dense", "noise-0.30"]}, "'noise-0.30' only screens targets"),
    "no such file": ({"compressions": ["dense", "file-x"]}, "'file-x' is no entry of checkpoints"),
    "its recovery has seen the target": ({"targets": ["photographs"]}, "'photographs' is a target of real_network"),
    "a target that nothing fetches": ({"targets": ["gtsrb"]}, "real_network.axes.targets: 'gtsrb' is not embedded"),
    "unknown target": ({"targets": ["digts"]}, "real_network.axes.targets.0: 'digts'"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_values_are_refused_before_any_work(case):
    change, told = CASES[case]
    with pytest.raises(ParameterError) as error:
        validate(content(**change), "params.yaml")
    assert told in str(error.value) and "1 problem, nothing was run" in str(error.value)


def test_the_mapping_must_be_one():
    of = content()
    of["real_network"]["settings"]["mapping"] = "linear"
    with pytest.raises(ParameterError, match=r"real_network\.settings\.mapping: 'linear': should be 'random'"):
        validate(of, "params.yaml")


def planted(backbones=("other",)) -> pd.DataFrame:
    rows = []
    for backbone in backbones:
        for name, agrees, probe in (("dense", 1.0, 0.5), ("reconstructed-0.60", 0.45, 0.4), ("w8a8-mse", 0.98, 0.49)):
            one = {"backbone": backbone, "source_seed": 0, "target": "digits", "compression": name, "status": "ok"}
            one |= {"budget": None, "seed": 0, "mapping": None}
            rows.append(one | {"method": "upstream", "accuracy": agrees})
            for seed in (0, 1):
                run = one | {"budget": "all", "seed": seed}
                rows.append(run | {"method": "mapping_only", "accuracy": 0.2, "mapping": list(range(10))})
                rows.append(run | {"method": "linear_probe", "accuracy": probe + 0.01 * seed})
    return pd.DataFrame(rows)


def report(frame: pd.DataFrame) -> SimpleNamespace:
    return SimpleNamespace(real=SimpleNamespace(frame=frame))


@pytest.mark.parametrize("networks", [("other",), ("other", "another")])
def test_the_figure_and_its_sentence(networks):
    drawn = real_network_figure.draw(report(planted(networks)), None)
    assert faults(drawn.figure) == []
    assert "lowest, 0.450" in drawn.sentence and "is -0.100 from dense's" in drawn.sentence
    titles = [axis.get_title() for axis in drawn.figure.axes]
    assert titles == ["upstream", "mapping only, digits", "linear probe, digits"]
    dashed = [line for axis in drawn.figure.axes[1:] for line in axis.lines if line.get_linestyle() == "--"]
    assert np.allclose([line.get_xdata()[0] for line in dashed], 0.1) and len(dashed) == 2


def test_a_probe_that_did_not_finish_is_not_compared():
    lost = planted()
    lost.loc[(lost["method"] == "linear_probe") & (lost["compression"] == "dense"), ["status", "accuracy"]] = (
        "diverged",
        np.nan,
    )
    assert real_network_figure.draw(report(lost), None).sentence.endswith("; not all probes finished.")


def test_a_network_that_is_adapted_in_full_is_refused():
    of = content()
    of["backbones"], of["compressions"] = ["other"], ["dense"]
    with pytest.raises(ParameterError, match="'other' is in backbones, too"):
        validate(of, "params.yaml")


def test_without_such_a_network_there_is_no_figure():
    assert real_network_figure.draw(report(pd.DataFrame()), None) is None
