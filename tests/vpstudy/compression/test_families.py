"""Compressed backbones: made by name, measured, stored, loaded again."""

import copy
import dataclasses

import pytest
import torch
from torch.nn.utils import prune

from vpstudy.compression import compressed
from vpstudy.compression.families.nm import largest
from vpstudy.compression.iterative import iterative_magnitude_pruning
from vpstudy.compression.magnitude import magnitude
from vpstudy.compression.recipes import recalibrate
from vpstudy.compression.registry import parse
from vpstudy.compression.settings import Checkpoint, Compressing, Source
from vpstudy.compression.source_access import SourceAccess
from vpstudy.data import glyphs
from vpstudy.models import backbones
from vpstudy.models.architectures import ARCHITECTURES, Architecture
from vpstudy.models.backbones import Backbone
from vpstudy.runtime import Runtime
from vpstudy.training.pretraining import train_on_source

CLASSES = glyphs.class_names
STEM, CLASSIFIER = "conv1.0.weight", "fc.weight"  # the first and the last layer of the cnn


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The checkpoints that the stages source and imp leave, from untrained weights."""
    place = tmp_path_factory.mktemp("models") / "tiny" / "cnn"
    backbone = Backbone(ARCHITECTURES["cnn"], CLASSES, seed=0)
    backbones.save(backbone, place / "source/0.safetensors")
    early = Backbone(ARCHITECTURES["cnn"], CLASSES, seed=1).model.state_dict()
    iterative_magnitude_pruning(
        backbone.model, backbone.prunable, early, [0.5, 0.8], lambda *_: None, place / "imp/0", "test"
    )
    return place


def access(folder) -> SourceAccess:
    """Schedules of a few steps."""
    source = Source(
        seed=0, checkpoints=1, size=16, steps=6, batch=4, learning_rate=0.01, weight_decay=0.0, held_out=100
    )
    runtime = Runtime(torch.device("cpu"), "fp32", 1)
    return SourceAccess(folder, 0, source, Compressing(pictures=8, recovery_from=2), runtime, {})


def make(name: str, access: SourceAccess):
    return parse(name).make(access)


@pytest.mark.parametrize("family", ["global", "magnitude", "magnitude_bn", "magnitude_tuned"])
def test_pruning_families_are_exact_stored_and_kept(folder, tmp_path, family):
    made, path = make(f"{family}-0.80", access(folder)), tmp_path / "x.safetensors"
    assert made.mask.size - made.mask.kept == round(0.8 * made.mask.size)
    pruned = torch.cat([~kept.flatten() for kept in made.mask.values()])
    assert (made.weights()[pruned] == 0).all() and (made.weights()[~pruned] != 0).any()
    assert not [name for name, _ in made.backbone.named_parameters() if "parametrizations" in name]
    made.save(path)
    assert torch.equal(compressed.load(path, f"{family}-0.80").weights(), made.weights())


def test_the_global_family_ranks_all_weights_together(folder):
    """Against torch's own pruning."""
    made, dense = make("global-0.80", access(folder)), make("dense", access(folder)).backbone
    dense.model.to(memory_format=torch.contiguous_format)
    layers = [dense.model.get_submodule(name.rpartition(".")[0]) for name in dense.prunable]
    prune.global_unstructured([(layer, "weight") for layer in layers], prune.L1Unstructured, amount=0.8)
    for layer, kept in zip(layers, made.mask.values(), strict=True):
        assert torch.equal(kept, layer.weight_mask.bool())


@pytest.mark.parametrize("family", ["magnitude", "magnitude_bn", "magnitude_tuned"])
def test_one_shot_families_prune_by_lamp_and_spare_the_stem(folder, family):
    dense, made = make("dense", access(folder)).backbone, make(f"{family}-0.80", access(folder))
    free = {name: weight for name, weight in dense.prunable.items() if name != STEM}
    scores = torch.cat([lamp_by_definition(weight) for weight in free.values()])
    kept = scores.argsort(stable=True).argsort() >= round(0.8 * made.mask.size)
    assert made.mask[STEM].all()
    assert torch.equal(torch.cat([made.mask[name].flatten() for name in free]), kept)


def lamp_by_definition(weight):
    """Lee et al. (ICLR 2021), equation 1: over a sorted layer, w² over the sum of the squares from there on."""
    squares = weight.detach().flatten().double() ** 2
    order = squares.argsort(stable=True).tolist()
    scores, rest = torch.zeros_like(squares), 0.0
    for place in reversed(order):
        rest += squares[place].item()
        scores[place] = squares[place] / rest
    return scores


def test_a_mobile_network_keeps_its_depthwise_convolutions(tmp_path):
    architecture = Architecture("mobile", "timm/mobilenetv2_050")
    backbones.save(Backbone(architecture, CLASSES), tmp_path / "source/0.safetensors")
    made, whole = (make(f"{family}-0.90", access(tmp_path)) for family in ("magnitude", "global"))
    modules = dict(made.backbone.model.named_modules())
    spared = [
        n for n in made.mask if modules[n.removesuffix(".weight")].weight.shape[1] == 1 or n.startswith("conv_stem")
    ]
    assert len(spared) == 18 and all(made.mask[name].all() for name in spared)
    assert not all(whole.mask[name].all() for name in spared)
    for each in (made, whole):
        assert each.mask.size - each.mask.kept == round(0.9 * each.mask.size)
    assert all(kept.any() for kept in made.mask.values())
    with pytest.raises(ValueError, match=r"sparsity 0\.99 is \d+ of \d+ weights, and at most \d+ .* global-0\.99"):
        make("magnitude-0.99", access(tmp_path))


def test_trained_families_and_their_control_train_alike(folder, monkeypatch):
    """The same steps of the same schedule on the same pictures, which differ between source checkpoints."""
    trained = []

    def keep(backbone, *_, **how):
        trained.append((backbone.name, how))

    monkeypatch.setattr("vpstudy.compression.source_access.train_on_source", keep)
    names = [name for name in ("magnitude_tuned-0.80", "w4a4-lsq") if parse(name).control == "dense_tuned"]
    for name in [*names, "dense_tuned"]:
        make(name, access(folder))
    assert len(trained) == 3 and all(each == trained[-1] for each in trained)
    assert parse("dense_tuned").control is None


def test_the_control_of_training_is_dense_trained_on(folder):
    here = access(folder)
    tuned, dense = make("dense_tuned", here), here.dense()
    options = {"stream": "recovery", "label": "test", "start": here.settings.recovery_from}
    train_on_source(dense, here.source, here.runtime, **options)
    assert all(torch.equal(a, b) for a, b in zip(tuned.backbone.parameters(), dense.parameters(), strict=True))
    assert tuned.facts()["sparsity"] == 0


def test_new_batchnorm_statistics_are_those_of_source_pictures(folder):
    plain, new = (make(f"{family}-0.80", access(folder)).backbone for family in ("magnitude", "magnitude_bn"))
    assert torch.equal(*(torch.cat([w.flatten() for w in b.prunable.values()]) for b in (plain, new)))
    pictures, _ = access(folder).pictures()
    seen = []
    first = next(m for m in new.modules() if isinstance(m, torch.nn.BatchNorm2d))
    hook = first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    new.frozen()(pictures)
    hook.remove()
    assert torch.allclose(first.running_mean, seen[0].mean((0, 2, 3)), atol=1e-5)
    assert torch.allclose(first.running_var, seen[0].var((0, 2, 3), unbiased=True), rtol=1e-3)
    assert first.momentum == next(m for m in plain.modules() if isinstance(m, torch.nn.BatchNorm2d)).momentum


def test_batchnorm_of_every_dimension_gets_new_statistics(folder):
    """A norm over features (N, F) follows the new statistics of the one before it."""
    nn, source = torch.nn, access(folder)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(5), nn.BatchNorm1d(5))
    backbone = nn.Module()
    backbone.model, backbone.normalised = network, lambda pictures: pictures
    pictures = source.pictures()[0]
    network(pictures[:2])  # shapes
    recalibrate(backbone, source)
    assert not backbone.training and network[1].momentum == network[4].momentum == 0.1
    with torch.no_grad():
        convolved = network[0](pictures)
        features = network[3](network[2](network[1].train()(convolved)))
    torch.testing.assert_close(network[4].running_mean, features.mean(0), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(network[4].running_var, features.var(0), rtol=2e-2, atol=1e-3)


@pytest.mark.parametrize("name", ["w4a4", "w3a3-mse", "w4a4-lsq"])
def test_activations_are_rounded_after_loading_and_in_copies(folder, tmp_path, name):
    made, path = make(name, access(folder)), tmp_path / "x.safetensors"
    made.save(path)
    loaded, pictures = compressed.load(path, name), torch.rand(2, 3, 32, 32)
    logits = made.backbone.frozen()(pictures)
    answers = [network(pictures) for network in (loaded.backbone.frozen(), copy.deepcopy(loaded.backbone))]
    for module in loaded.backbone.modules():
        module._forward_pre_hooks.clear()
    far = (loaded.backbone(pictures) - logits).abs().mean()
    assert far > 0
    # a value at the edge of two steps may fall to either side
    assert all((answer - logits).abs().mean() < 0.05 * far for answer in answers)
    assert made.facts()["activation_bits"] == int(name[3])


@pytest.mark.parametrize("name", ["w4a4", "w3a3", "w2a2-mse", "w3a3-lsq"])
def test_the_first_and_the_last_layer_and_the_input_have_8_bits(folder, name):
    """Against torch's own rounding by the stored ranges; the input is the normalised picture."""
    made, few = make(name, access(folder)), int(name[1])
    model, seen = made.backbone.frozen().model, {}
    for weight in [*made.backbone.prunable, CLASSIFIER]:
        bits = 8 if weight in (STEM, CLASSIFIER) else few
        layer = model.get_submodule(weight.removesuffix(".weight"))
        levels = [len(channel.unique()) for channel in layer.weight.detach()]
        assert max(levels) <= 2**bits - 1 and (bits == few or max(levels) > 2**few), weight
        raw = layer.register_forward_pre_hook(lambda _, inputs, w=weight: seen.update({w: inputs[0]}), prepend=True)
        rounded = layer.register_forward_pre_hook(lambda _, inputs, w=weight: seen.update({w + "'": inputs[0]}))
        made.backbone(torch.rand(2, 3, 16, 16))
        raw.remove(), rounded.remove()
        scale, zero = made.activations[weight].tolist()
        oracle = torch.fake_quantize_per_tensor_affine(seen[weight], scale, round(zero), 0, 2**bits - 1)
        if name.endswith("-lsq"):  # the learned step rounds by the same integers
            torch.testing.assert_close(seen[weight + "'"], oracle)
        else:
            assert torch.equal(seen[weight + "'"], oracle)
            assert len(seen[weight + "'"].unique()) <= 2**bits
    source = access(folder).dense()
    pictures = source.normalised(access(folder).pictures()[0])
    if name in ("w4a4", "w3a3"):  # the step of the smallest range that holds all pictures
        step = (pictures.max().clamp(min=0) - pictures.min().clamp(max=0)) / 255
        assert made.activations[STEM][0].item() == pytest.approx(step.item(), rel=1e-5)


def test_a_checkpoint_from_outside_is_a_compression_like_any_other(folder, tmp_path):
    outside = Backbone(ARCHITECTURES["cnn"], CLASSES, seed=5)
    magnitude(outside.prunable, 0.7).apply_(outside.prunable)
    backbones.save(outside, tmp_path / "net.safetensors")
    entry = Checkpoint(location=str(tmp_path / "net.safetensors"))
    made = make("file-net", dataclasses.replace(access(folder), checkpoints={"net": entry}))
    assert made.facts()["sparsity"] == pytest.approx(0.7, abs=1e-5)
    assert made.facts()["sparsity_nominal"] == 0.0


@pytest.mark.parametrize(
    ("name", "sparsity", "bits"),
    [("dense", 0, 32), ("imp-0.80", 0.8, 32), ("magnitude-0.90", 0.9, 32), ("int4", 0, 4), ("int2", 0, 2)],
)
def test_facts_are_measured_on_the_weights(folder, name, sparsity, bits):
    made = make(name, access(folder))
    facts, weights = made.facts(), made.weights()
    assert facts["sparsity"] == pytest.approx(sparsity, abs=1e-5)
    assert facts["bits"] == bits
    assert facts["zero_weights"] == pytest.approx((weights == 0).float().mean().item())
    assert facts["parameters"] == sum(p.numel() for p in made.backbone.model.parameters())
    assert facts["prunable"] == len(weights)
    assert facts["sparsity_of_all"] == pytest.approx(facts["sparsity"] * len(weights) / facts["parameters"])
    assert set(facts["layers"]) == set(made.backbone.prunable)


def test_a_dense_compression_is_the_source_bit_for_bit(folder):
    source = backbones.load(folder / "source/0.safetensors")
    dense = make("dense", access(folder)).backbone
    state = dense.model.state_dict()
    assert all(torch.equal(state[key], value) for key, value in source.model.state_dict().items())


def test_quantized_channels_hold_few_values_and_others_stay(folder):
    source, made = (make(name, access(folder)).backbone for name in ("dense", "int2"))
    for name, weight in made.prunable.items():
        assert all(len(channel.unique()) <= (255 if name == STEM else 3) for channel in weight.detach()), name
    rest = [name for name in source.model.state_dict() if name not in {*source.prunable, CLASSIFIER}]
    assert all(torch.equal(source.model.state_dict()[name], made.model.state_dict()[name]) for name in rest)


def test_sizes_follow_from_what_is_stored(folder):
    sizes = {name: make(name, access(folder)).facts()["bytes"] for name in ("dense", "magnitude-0.90", "int4", "int2")}
    dense = make("dense", access(folder))
    n, parameters = dense.mask.size, dense.facts()["parameters"]
    assert sizes["dense"] == 4 * parameters
    assert sizes["magnitude-0.90"] == 4 * (parameters - n) + 4 * (n - round(0.9 * n)) + -(-n // 8)
    stem, last = (dense.backbone.model.get_parameter(name) for name in (STEM, CLASSIFIER))
    middle = [weight for name, weight in dense.backbone.prunable.items() if name != STEM]
    integers = sum(-(-weight.numel() // 2) for weight in middle) + stem.numel() + last.numel()
    channels = sum(map(len, [*middle, stem, last]))
    assert sizes["int4"] == 4 * (parameters - n - last.numel()) + integers + 4 * channels
    assert sizes["int2"] < sizes["int4"] < sizes["dense"]


@pytest.mark.parametrize("name", ["imp-0.50", "int4"])
def test_what_is_stored_comes_back(folder, tmp_path, name):
    made, path = make(name, access(folder)), tmp_path / "x.safetensors"
    made.save(path)
    loaded = compressed.load(path, name)
    assert loaded.mask == made.mask
    assert loaded.bits == made.bits
    assert torch.equal(loaded.weights(), made.weights())
    assert loaded.backbone.class_names == CLASSES


def test_a_round_that_imp_has_not_written_is_named(folder):
    with pytest.raises(FileNotFoundError, match=r"round-0\.95"):
        make("imp-0.95", access(folder))


@pytest.mark.parametrize("name", ["imp-0.80", "int4", "int4-mse", "w4a4-lsq"])
def test_constraining_keeps_a_copy_compressed_through_a_step(folder, name):
    made = make(name, access(folder))
    made.constrain(made.backbone.model)
    made.backbone.requires_grad_(True).train()
    optimizer = torch.optim.SGD(made.backbone.parameters(), lr=0.5, momentum=0.9, weight_decay=0.1)
    for _ in range(2):
        made.backbone(torch.rand(4, 3, 32, 32)).square().sum().backward()
        optimizer.step()
    for weight_name, weight in made.backbone.prunable.items():
        if made.bits == 4:
            assert all(len(channel.unique()) <= (255 if weight_name == STEM else 15) for channel in weight.detach())
        else:
            assert (weight[~made.mask[weight_name]] == 0).all()
            assert weight.abs().sum() > 0


@pytest.mark.parametrize(("n", "m", "shape"), [(2, 4, (6, 8)), (1, 4, (3, 12)), (2, 4, (5, 8, 3, 3)), (3, 5, (2, 10))])
def test_of_every_few_inputs_the_largest_stay(n, m, shape):
    """Against a loop over every group."""
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    kept = largest(weight, n, m)
    by_place = weight.movedim(1, -1).reshape(-1, m), kept.movedim(1, -1).reshape(-1, m)
    for values, mask in zip(*by_place, strict=True):
        best = sorted(range(m), key=lambda k: values[k].abs(), reverse=True)[:n]
        assert mask.nonzero().flatten().tolist() == sorted(best)


def test_two_of_four_is_what_semi_structured_kernels_take():
    weight = torch.randn(64, 64, dtype=torch.half, generator=torch.Generator().manual_seed(0))
    sparse = weight * largest(weight, 2, 4)
    try:
        packed = torch.sparse.to_sparse_semi_structured(sparse)
    except RuntimeError as error:
        pytest.skip(f"no kernels here: {error}")
    assert torch.equal(packed.to_dense(), sparse)


def test_layers_with_other_numbers_of_inputs_stay_dense(folder, tmp_path):
    made, dense = make("nm-2of4", access(folder)), make("dense", access(folder))
    for name, weight in dense.backbone.prunable.items():
        kept = made.mask[name]
        assert kept.all() if weight.shape[1] % 4 else kept.float().mean() == 0.5
        assert torch.equal(made.backbone.prunable[name], weight * kept)
    assert 0.45 < made.facts()["sparsity"] < made.facts()["sparsity_nominal"] == 0.5
    made.save(tmp_path / "x.safetensors")
    assert compressed.load(tmp_path / "x.safetensors", "nm-2of4").mask == made.mask


def test_noise_has_the_spread_that_its_name_says_and_grows_along_one_direction(folder):
    dense, some, more = (
        {key: weight.detach() for key, weight in make(name, access(folder)).backbone.prunable.items()}
        for name in ("dense", "noise-0.20", "noise-0.40")
    )
    for name, weight in dense.items():
        added = some[name] - weight
        assert torch.allclose(2 * added, more[name] - weight, atol=1e-6)
        count = weight.numel()
        assert abs(float(added.std() / weight.std()) / 0.2 - 1) < 5 / (2 * count) ** 0.5
