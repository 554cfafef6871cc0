"""Checkpoints as people have them: what loads, under which names, and what is said of the others."""

import re

import pytest
import torch
import torchvision
from safetensors.torch import save

from vpstudy.models import checkpoints

PICTURES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(3)
    return torchvision.models.shufflenet_v2_x0_5(num_classes=7).eval()


@pytest.fixture
def load(tmp_path):
    """From tensors and a model, the model with them loaded from a file."""

    def loaded(tensors, model=None):
        path = tmp_path / "net.safetensors"
        path.write_bytes(save({key: value.contiguous() for key, value in tensors.items()}))
        model = model or torchvision.models.shufflenet_v2_x0_5(num_classes=7)
        checkpoints.load(model, path, "net")
        return model.eval()

    return loaded


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "state_dict.", "model.", "model.module.", "_orig_mod.module."]
)
def test_a_prefix_of_a_wrapper_is_removed_and_said(trained, load, prefix):
    with pytest.warns(UserWarning, match=re.escape(f"net.safetensors: its names are read without {prefix!r}")):
        model = load({prefix + key: value for key, value in trained.state_dict().items()})
    assert torch.equal(model(PICTURES), trained(PICTURES))


def test_weights_without_num_batches_tracked_load_as_in_torch(trained, load):
    state = {key: value for key, value in trained.state_dict().items() if "num_batches" not in key}
    assert torch.equal(load(state)(PICTURES), trained(PICTURES))


def test_half_precision_is_widened(trained, load):
    state = {key: value.half() if value.is_floating_point() else value for key, value in trained.state_dict().items()}
    model = load(state)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    torch.testing.assert_close(model(PICTURES), trained(PICTURES), atol=1e-2, rtol=1e-2)


def test_old_names_of_densenets_load(load):
    torch.manual_seed(0)
    small = {"growth_rate": 4, "block_config": (2, 2), "num_init_features": 8, "num_classes": 7}
    own = torchvision.models.DenseNet(**small).eval()
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)\.", r"\1.\2.", key): value
        for key, value in own.state_dict().items()
        if "num_batches" not in key
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    assert torch.equal(load(old, torchvision.models.DenseNet(**small))(PICTURES), own(PICTURES))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s | {"fc.weight": s["fc.weight"] * torch.nan}, r"1 with NaN or infinite values \(fc.weight\)"),
        (
            lambda s: s | {"conv1.1.running_var": s["conv1.1.running_var"] + torch.inf},
            r"infinite values \(conv1.1.runn",
        ),
        (
            lambda s: s | {"fc.weight": torch.ones(7, 1024).to(torch.int8)},
            "1 integers without a scale .fc.weight is torch.int8",
        ),
        (lambda s: s | {"fc.weight": torch.ones(8, 1024)}, r"1 of another shape \(fc.weight is \[8, 1024\], not \[7"),
        (lambda s: {f"encoder.{k}": v for k, v in s.items()}, "; store them without 'encoder.' before each name"),
        (
            lambda s: {f"{p}.{k}": v.clone() for k, v in s.items() for p in ("model", "model_ema")},
            "store them without 'model.' or 'model_ema.' before each name",
        ),
        (lambda s: {k: v for k, v in s.items() if k != "fc.bias"}, r"1 missing \(fc.bias\)"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_name(trained, load, change, said):
    with pytest.raises(ValueError, match=f"net.safetensors does not fit the backbone net: .*{said}"):
        load(change(trained.state_dict()))


def test_tensors_are_found_in_nested_dictionaries():
    state = {"a": torch.ones(2)}
    for content in (
        state,
        {"model": state},
        {"state_dict": {"model": state}, "epoch": 3, "optimizer": {"state": state}},
    ):
        assert torch.equal(checkpoints.unnested(content, "net.pth")["a"], state["a"])
    for content in ({"weights": state}, {"model": state, "state_dict": state}, {"epoch": 3}):
        with pytest.raises(ValueError, match=f"net.pth holds {', '.join(content)}; allowed: tensors by name, or one"):
            checkpoints.unnested(content, "net.pth")
    for content in ([state], torch.ones(2), {}):
        with pytest.raises(ValueError, match=r"net.pth holds a .* without names; allowed: tensors by name"):
            checkpoints.unnested(content, "net.pth")
