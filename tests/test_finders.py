"""Finders: exact sparsity, source weights under every mask, equal steps, and masks against brute force."""

import copy
import math

import pytest
import torch

from vpstudy import paths
from vpstudy.compression.magnitude import magnitude
from vpstudy.data import glyphs
from vpstudy.models.architectures import ARCHITECTURES
from vpstudy.models.backbones import Backbone
from vpstudy.runtime import configure
from vpstudy.settings import Execution, read
from vpstudy.training.data import TransferData
from vpstudy.training.mask_search.finders import FINDERS, PUBLISHED, rounds
from vpstudy.training.mask_search.methods import CONTROLS, METHODS
from vpstudy.training.mask_search.run import Run
from vpstudy.training.mask_search.settings import MaskSearch

STEPS, SPARSITY = 8, 0.9


@pytest.fixture(scope="module")
def data():
    return TransferData("digits", 5, configure(Execution(device="cpu", precision="fp32", threads=1, cell_threads=1)))


@pytest.fixture(scope="module")
def source():
    return Backbone(ARCHITECTURES["cnn"], glyphs.class_names, seed=4).frozen()


@pytest.fixture
def run(data, source):
    def make(pruner: str, **values) -> Run:
        content = read(paths.SCALES / "default/params.yaml")["vpns"]["settings"]
        content |= {"budget": 4, "validation_per_class": 5, "steps": STEPS, "batch": 16, "scoring": 32}
        content |= {"sparsities": [0.5, 0.9], "control_sparsities": [], "imp_rounds": [0.5, 0.9], "canvas": 16}
        content |= {"inner": 16, "prompts": {"frame": {"width": 2}, "patch": {"side": 6}}} | values.pop("settings", {})
        on_source = values.pop("on_source", False)
        return Run(
            source, data, MaskSearch.model_validate(content), METHODS[pruner], seed=0, on_source=on_source, **values
        )

    return make


PRUNERS = [name for name, method in METHODS.items() if method.role in ("baseline", "vpns", "control")]


@pytest.mark.parametrize("pruner", PRUNERS)
def test_every_mask_is_exact_and_every_method_takes_the_same_steps(run, source, pruner):
    found = FINDERS[METHODS[pruner].finder](run(pruner), SPARSITY)
    size = found.mask.size
    if pruner != "random":  # which is exact in each layer
        assert found.mask.size - found.mask.kept == round(SPARSITY * size)
    assert all(
        abs((~kept).sum().item() - SPARSITY * kept.numel()) <= 0.5 for kept in found.mask.values() if pruner == "random"
    )
    scoring = {"snip": 2, "grasp": 4, "synflow": math.ceil(100 / 16)}.get(pruner, 0)
    spent = found.passes + found.tuning - scoring
    assert spent == STEPS if pruner != "imp" else STEPS - 3 < spent <= STEPS
    weights = found.network.backbone.prunable
    for name, kept in found.mask.items():
        assert not weights[name][~kept].any()
        if pruner != "bip":  # whose weights are tuned already
            assert torch.equal(weights[name][kept], source.prunable[name][kept])
    assert (found.network.prompt is not None) == METHODS[pruner].finding_prompt


@pytest.mark.parametrize("pruner", PRUNERS)
def test_tuning_keeps_the_mask(run, pruner):
    this = run(pruner)
    found = FINDERS[METHODS[pruner].finder](this, SPARSITY)
    before = copy.deepcopy(found.network.state_dict())
    network = this.tuned(found, "alternating", 3, prompt=METHODS[pruner].tuning_prompt)
    for name, kept in found.mask.items():
        assert not network.backbone.prunable[name][~kept].any()
    after = found.network.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)  # what was found is not changed
    assert (network.prompt is not None) == METHODS[pruner].tuning_prompt


def test_the_source_is_never_changed(run, source):
    before = copy.deepcopy(source.state_dict())
    for pruner in ("omp", "bip", "vpns", "vpns_channels", "slimming"):
        this = run(pruner, settings={"channel_ratios": [0.3]})
        found = FINDERS[METHODS[pruner].finder](this, 0.3)
        this.tuned(found, "augmented", 2, prompt=False)
    after = source.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_omp_prunes_by_the_magnitudes_of_the_tuned_dense_network(run):
    this = run("omp")
    dense = this.tuned(FINDERS["dense"](this, 0), "augmented", STEPS // 2, prompt=False)
    assert FINDERS["omp"](this, SPARSITY).mask == magnitude(dense.backbone.prunable, SPARSITY)


def test_rounds_of_imp_are_nested_and_shared(run):
    cache = {}
    half = PUBLISHED["imp"](run("imp", cache=cache), 0.5)
    trained = len(cache)
    more = PUBLISHED["imp"](run("imp", cache=cache), 0.9)
    assert more.mask.is_subset_of(half.mask)
    assert (half.passes, more.passes) == (STEPS, 2 * STEPS)
    assert len(cache) == trained + 1  # the first round is not trained again
    spared = run("imp", cache=cache)
    PUBLISHED["imp"](spared, 0.9)
    assert spared.saved > 0
    assert rounds(run("imp"), 0.7) == [0.5, 0.7]


def test_masks_found_on_the_source_see_no_target(run):
    for pruner in CONTROLS["source_mask"].methods:
        found = FINDERS[METHODS[pruner].finder](run(pruner, on_source=True), SPARSITY)
        assert found.mask.size - found.mask.kept == round(SPARSITY * found.mask.size)
        assert len(found.network.mapping) == 10  # tuned on the target
        assert found.tuning == STEPS // 2
        assert found.network.prompt is None


@pytest.mark.parametrize("pruner", ["depgraph", "slimming", "vpns_channels", "vpns_channels_no_prompt"])
def test_channels_are_gone_in_fact(run, source, pruner):
    found = FINDERS[METHODS[pruner].finder](run(pruner), 0.3)
    convolutions = [m for m in found.network.backbone.modules() if isinstance(m, torch.nn.Conv2d)]
    before = [m for m in source.modules() if isinstance(m, torch.nn.Conv2d)]
    assert sum(m.weight.numel() for m in convolutions) < sum(m.weight.numel() for m in before)
    assert found.mask.sparsity == 0
    assert found.network(torch.rand(2, 3, 16, 16)).shape == (2, 10)


def test_ablations_change_what_their_name_says(run):
    assert run("vpns_frame_4", settings={"canvas": 32, "inner": 32}).prompt().mask.sum() == 4 * 4 * (32 - 4)
    small = run("vpns_input_18", settings={"canvas": 32, "inner": 32})
    assert small.pictures.shape[-1] == 32
    assert not small.pictures[..., :7, :].any()
    assert run("vpns_patch").prompt().theta.shape[-1] == 6
