"""Checkpoints from outside: refused where they do not fit, measured."""

import pytest
import torch
from safetensors.torch import save

from vpstudy.compression.masks import Mask
from vpstudy.models import checkpoints
from vpstudy.models.architectures import ARCHITECTURES
from vpstudy.models.backbones import Backbone


@pytest.fixture
def backbone():
    return Backbone(ARCHITECTURES["cnn"], ["a", "b"])


@pytest.mark.parametrize("prefix", ["", "model."])
def test_sparsity_is_measured(backbone, tmp_path, prefix):
    state = {
        key: value.clone(memory_format=torch.contiguous_format) for key, value in backbone.model.state_dict().items()
    }
    pruned = next(iter(backbone.prunable))
    state[pruned].flatten()[:17] = 0
    path = tmp_path / "net.safetensors"
    path.write_bytes(save({prefix + key: value.contiguous() for key, value in state.items()}))
    other = Backbone(ARCHITECTURES["cnn"], ["a", "b"], seed=1)
    checkpoints.load(other.model, path, other.name)
    mask = Mask.nonzero(other.prunable)
    assert mask.size - mask.kept == 17
    assert all(torch.equal(state[key], value) for key, value in other.model.state_dict().items())


def test_all_that_does_not_fit_is_one_error(backbone, tmp_path):
    state = {key: value.contiguous() for key, value in backbone.model.state_dict().items()}
    del state["bn1.bias"]
    state["bn1.weight"], state["extra"] = torch.ones(3), torch.ones(1)
    path = tmp_path / "net.safetensors"
    path.write_bytes(save(state))
    with pytest.raises(ValueError, match="does not fit") as error:
        checkpoints.load(backbone.model, path, backbone.name)
    for part in ("1 missing (bn1.bias)", "1 not in the backbone (extra)", "bn1.weight is [3], not [16]"):
        assert part in str(error.value), str(error.value)
    path.write_bytes(b"damaged")
    with pytest.raises(ValueError, match="no complete safetensors"):
        checkpoints.load(backbone.model, path, backbone.name)
