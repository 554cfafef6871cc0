"""What cells on backbones from elsewhere cost: pictures as cells see them, operations as torch counts them."""

import copy
from collections import Counter
from types import SimpleNamespace

import pytest
import torch

from pipeline import gpu_hours, passes, scales
from pipeline.cli import main
from pipeline.sizes import SIZES, size_of
from studies import grid
from studies.hidden_cost import cell as transfer
from studies.vpns import cell as prune
from vpstudy import paths
from vpstudy.data import glyphs
from vpstudy.data.targets import MODULES, load
from vpstudy.models.backbones import Backbone
from vpstudy.models.weights import OutsideWeights

SMOKE = scales.parameters("smoke")
SETTINGS = SMOKE.hidden_cost.model_copy(
    update={"budgets": [2, "all"], "seeds": [0, 1], "fine_tuning_budgets": [2], "control_compressions": ["int4"]}
    | {"controls": ["padded_probe", "fixed_epochs", "random_mapping"], "test_curves": True}
)
PRUNING = SMOKE.vpns.model_copy(
    update={
        "sparsities": [0.5],
        "seeds": [0, 1],
        "factors": [1, 4],
        "steps": 4,
        "batch": 64,
        "control_sparsities": [0.5],
    }
)


@pytest.fixture
def seen(monkeypatch):
    """Passes that a backbone was asked for, by side; a picture whose gradient is wanted counts as a training step's."""
    counted: Counter[int] = Counter()
    normalised = Backbone.normalised

    def count(self, pictures):
        counted[pictures.shape[-1]] += len(pictures) * (1 if not torch.is_grad_enabled() else passes.STEP)
        return normalised(self, pictures)

    monkeypatch.setattr(Backbone, "normalised", count)
    return counted


def test_sizes_of_embedded_targets_are_those():
    for name in MODULES:
        target = load(name, 8)
        found = len(target.class_names), len(target.labels) - len(target.test), len(target.test)
        size = size_of(name, {})
        assert (size.classes, size.pool, size.test) == found


def test_a_set_that_the_reader_declares_is_not_that_of_the_same_name(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "SPLITS", tmp_path)
    assert size_of("gtsrb", {}).known and size_of("gtsrb", {}) == SIZES["gtsrb"]
    assert not size_of("gtsrb", {"gtsrb": None}).known
    assert not size_of("mine", {}).known


@pytest.mark.parametrize("compression", ["dense", "int4"])
def test_a_transfer_cell_sees_as_many_pictures_as_are_counted(compression, seen, monkeypatch):
    backbone = Backbone("cnn", [str(k) for k in range(20)])
    made = SimpleNamespace(backbone=backbone, constrain=None)
    monkeypatch.setattr(transfer, "obtain", lambda *_: made)
    monkeypatch.setattr(transfer, "fused", lambda network, _: copy.deepcopy(network))
    sections = {"hidden_cost": SETTINGS, "execution": SMOKE.execution}
    monkeypatch.setattr(transfer, "section", lambda name, *_: sections[name])
    transfer.TransferCell("smoke", "cnn", compression, "digits").run()
    assert seen == passes.of_transfer(SETTINGS, compression, size_of("digits", {}))


@pytest.mark.parametrize("pruner", ["dense", "random", "hydra", "omp", "imp", "vpns"])
def test_a_pruning_cell_sees_about_as_many_pictures_as_are_counted(pruner, seen, monkeypatch):
    backbone = Backbone("cnn", glyphs.class_names)
    monkeypatch.setattr(prune.backbones, "load", lambda *_: backbone)
    sections = {"vpns": PRUNING, "execution": SMOKE.execution}
    monkeypatch.setattr(prune, "section", lambda name, *_: sections[name])
    prune.PruneCell("smoke", "cnn", "digits", pruner).run()
    counted = passes.of_prune(PRUNING, pruner, size_of("digits", {}))
    assert set(seen) == set(counted)
    assert seen[PRUNING.canvas] <= counted[PRUNING.canvas] <= 1.5 * seen[PRUNING.canvas]


@pytest.mark.parametrize("operations", [1, 7])
def test_operations_are_those_of_the_cells_one_by_one(operations, monkeypatch):
    entry = {"model": "torchvision/resnet18", "location": "published/IMAGENET1K_V1"}
    parameters = SMOKE.model_copy(
        update={"outside": ["net"], "backbones": ["net"], "compressions": ["dense", "int4"]}
        | {"weights": SMOKE.weights.model_copy(update={"root": {"net": OutsideWeights.model_validate(entry)}})}
    )
    monkeypatch.setattr(gpu_hours, "macs", lambda _, side: operations)
    by_hand = Counter()
    for compression in parameters.compressions:
        by_hand["compress"] += 2 * operations * parameters.compressing.pictures
        for target in parameters.hidden_cost.targets:
            counted = passes.of_transfer(parameters.hidden_cost, compression, size_of(target, {}))
            by_hand["transfer"] += 2 * operations * counted.total()
    assert gpu_hours.operations(parameters, grid.cells(parameters)) == by_hand  # the pretrained cnn is left out
    lines = gpu_hours.table(parameters, 2.0)
    hours = sum(by_hand.values()) / 2e12 / 3600
    assert float(lines[3].split()[-1]) == pytest.approx(hours, rel=0.05)  # two digits
    assert "2 TFLOP/s" in lines[4]


def test_a_network_is_counted_as_one_that_is_computed():
    entry = OutsideWeights(model="torchvision/resnet18", location="published/IMAGENET1K_V1")
    assert gpu_hours.macs(entry, 224) == pytest.approx(1.814e9, rel=0.001)  # as torchvision publishes it
    assert gpu_hours.macs(entry, 448) == pytest.approx(4 * gpu_hours.macs(entry, 224), rel=0.01)


def test_plan_of_a_scale_that_is_not_in_place(capsys):
    before = paths.PARAMS.read_bytes()
    assert main(["plan", "--scale", "paper", "--tflops", "150"]) == 0
    slow = capsys.readouterr().out
    assert "150 TFLOP/s in fact (as given" in slow and "prune_with_prompts" in slow
    assert main(["plan", "--scale", "paper"]) == 0
    fast = capsys.readouterr().out
    assert "30 % of the bf16 peak of an H100" in fast
    hours = [
        float(line.split()[-1].replace(",", ""))
        for text in (slow, fast)
        for line in text.splitlines()
        if "  all" in line
    ]
    assert hours[0] == pytest.approx(2 * hours[1], rel=0.001)
    assert paths.PARAMS.read_bytes() == before
    assert main(["plan", "--scale", "smoke"]) == 0
    assert "GPU hours" not in capsys.readouterr().out
