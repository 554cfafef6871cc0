"""Finders and controls: exact sparsity, source weights under every mask, equal steps, and masks against an oracle."""

import copy
import math

import pytest
import torch
from invariants import is_subset

from studies.parameters import read
from vpstudy import paths
from vpstudy.compression.magnitude import magnitude
from vpstudy.data import glyphs
from vpstudy.models.architectures import ARCHITECTURES
from vpstudy.models.backbones import Backbone
from vpstudy.runtime import configure
from vpstudy.settings import Execution
from vpstudy.training.data import TransferData
from vpstudy.training.mask_search import controls
from vpstudy.training.mask_search.finders import finder
from vpstudy.training.mask_search.finders.magnitudes import rounds
from vpstudy.training.mask_search.methods import CONTROLS, METHODS
from vpstudy.training.mask_search.run import Candidate, Run
from vpstudy.training.mask_search.settings import MaskSearch

STEPS, SPARSITY = 8, 0.9
PRUNERS = [name for name, method in METHODS.items() if method.role in ("baseline", "vpns", "control")]


@pytest.fixture(scope="module")
def data():
    return TransferData("digits", 5, configure(Execution(device="cpu", precision="fp32", threads=1, cell_threads=1)))


@pytest.fixture(scope="module")
def source():
    return Backbone(ARCHITECTURES["cnn"], glyphs.class_names, seed=4).frozen()


@pytest.fixture
def run(data, source):
    def make(pruner: str, settings=None, **values) -> Run:
        content = read(paths.SCALES / "default/params.yaml")["vpns"]["settings"]
        content |= {"budget": 4, "validation_per_class": 5, "steps": STEPS, "batch": 16, "canvas": 16, "inner": 16}
        content |= {"sparsities": [0.5, 0.9], "control_sparsities": [], "imp_rounds": [0.5, 0.9]}
        content |= {"prompts": {"frame": {"width": 2}, "patch": {"side": 6}}} | (settings or {})
        return Run(source, data, MaskSearch.model_validate(content), METHODS[pruner], seed=0, **values)

    return make


def find(run: Run, sparsity: float = SPARSITY, published: bool = False) -> Candidate:
    return finder(run.method.finder)(run, sparsity, **({"published": True} if published else {}))


@pytest.mark.parametrize("pruner", PRUNERS)
def test_masks_are_exact_kept_in_tuning_and_found_in_equal_steps(run, source, pruner):
    this = run(pruner)
    candidate, before = find(this), copy.deepcopy(source.state_dict())
    mask, weights = candidate.mask, candidate.network.backbone.prunable
    if pruner == "random":  # which is exact in each layer
        assert all(abs((~kept).sum().item() - SPARSITY * kept.numel()) <= 0.5 for kept in mask.values())
    else:
        assert mask.size - mask.kept == round(SPARSITY * mask.size)
    scoring = {"snip": 3, "grasp": 6, "synflow": math.ceil(100 / 16)}.get(pruner, 0)  # 40 pictures in batches of 16
    spent = candidate.passes + candidate.tuning - scoring
    assert spent == STEPS if pruner != "imp" else STEPS - 3 < spent <= STEPS
    for name, kept in mask.items():
        assert not weights[name][~kept].any()
        assert torch.equal(weights[name][kept], source.prunable[name][kept]) or pruner == "bip"
    assert (candidate.network.prompt is not None) == METHODS[pruner].finding_prompt

    found = copy.deepcopy(candidate.network.state_dict())
    network = this.tuned(candidate, "alternating", 3, prompt=METHODS[pruner].tuning_prompt)
    assert not any(network.backbone.prunable[name][~kept].any() for name, kept in mask.items())
    assert (network.prompt is not None) == METHODS[pruner].tuning_prompt
    for now, then in ((candidate.network.state_dict(), found), (source.state_dict(), before)):
        assert all(torch.equal(now[name], then[name]) for name in then)  # nothing is changed in place


def test_omp_prunes_by_the_magnitudes_of_the_tuned_dense_network(run):
    dense = run("omp").tuned(finder(METHODS["dense"].finder)(run("omp"), 0), "augmented", STEPS // 2, prompt=False)
    assert find(run("omp")).mask == magnitude(dense.backbone.prunable, SPARSITY)


def test_rounds_of_imp_are_nested_and_shared(run):
    cache = {}
    half = find(run("imp", cache=cache), 0.5, published=True)
    trained = len(cache)
    more = find(run("imp", cache=cache), 0.9, published=True)
    assert is_subset(more.mask, half.mask)
    assert (half.passes, more.passes) == (STEPS, 2 * STEPS)
    assert len(cache) == trained + 1  # the first round is not trained again
    assert rounds(run("imp"), 0.7) == [0.5, 0.7]


@pytest.mark.parametrize("pruner", CONTROLS["source_mask"].methods)
def test_masks_found_on_the_source_are_tuned_on_the_target(run, pruner):
    candidate = find(run(pruner, on_source=True))
    assert candidate.mask.size - candidate.mask.kept == round(SPARSITY * candidate.mask.size)
    assert len(candidate.network.mapping) == 10  # classes of the target
    assert candidate.tuning == STEPS // 2
    assert candidate.network.prompt is None


@pytest.mark.parametrize("pruner", ["omp", "bip", "vpns"])
@pytest.mark.parametrize("control", CONTROLS)
def test_controls_keep_the_mask_and_count_their_passes(run, control, pruner):
    this = run(pruner)
    candidate = find(this)
    network, passes = getattr(controls, control)(this, SPARSITY, candidate, this.finished(candidate))
    weights = network.backbone.prunable
    if control != "source_mask":
        assert not any(weights[name][~kept].any() for name, kept in candidate.mask.items())
    trained = {"untouched": 0, "bn": 0, "prompt_only": STEPS // 2, "prompt_after": candidate.tuning + STEPS // 2}
    if control in trained:
        assert passes == candidate.passes + trained[control]
    learns_one = {"prompted", "prompt_only", "prompt_after"} | (
        {"untouched", "bn", "source_mask"} if pruner == "vpns" else set()
    )
    assert (network.prompt is not None) == (control in learns_one)


@pytest.mark.parametrize("pruner", ["depgraph", "slimming", "vpns_channels", "vpns_channels_no_prompt"])
def test_channels_are_gone_in_fact(run, source, pruner):
    candidate = find(run(pruner), 0.3)
    before, after = (
        sum(m.weight.numel() for m in model.modules() if isinstance(m, torch.nn.Conv2d))
        for model in (source, candidate.network.backbone)
    )
    assert after < before
    assert candidate.mask.sparsity == 0
    assert candidate.network(torch.rand(2, 3, 16, 16)).shape == (2, 10)


def test_ablations_change_what_their_name_says(run):
    assert run("vpns_frame_4", {"canvas": 32, "inner": 32}).prompt().mask.sum() == 4 * 4 * (32 - 4)
    small = run("vpns_input_18", {"canvas": 32, "inner": 32})
    assert small.pictures.shape[-1] == 32
    assert not small.pictures[..., :7, :].any()
    assert run("vpns_patch").prompt().theta.shape[-1] == 6


def test_every_registered_name_has_a_function():
    assert all(callable(finder(method.finder)) for method in METHODS.values())
    assert all(callable(getattr(controls, name)) for name in CONTROLS)
