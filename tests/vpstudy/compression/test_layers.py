"""Which layers are the first, the last and depthwise, in networks of several kinds."""

from types import SimpleNamespace

import pytest
from torch import nn

from vpstudy.compression import layers
from vpstudy.models.architectures import ARCHITECTURES, Architecture
from vpstudy.models.backbones import Backbone

NETWORKS = {
    "cnn": (ARCHITECTURES["cnn"], ["conv1.0.weight"], ["fc.weight"], 0),
    "vit": (ARCHITECTURES["vit"], ["patch_embed.layers.0.weight"], ["head.weight"], 0),
    "mobilenet": (Architecture("m", "timm/mobilenetv2_035"), ["conv_stem.weight"], ["classifier.weight"], 17),
    "squeezenet": (Architecture("s", "torchvision/squeezenet1_1"), ["features.0.weight"], ["classifier.1.weight"], 0),
}


@pytest.mark.parametrize("network", NETWORKS)
def test_they_are_found(network):
    architecture, first, last, depthwise = NETWORKS[network]
    backbone = Backbone(architecture, ["a", "b", "c"])
    assert layers.first(backbone) == first and layers.last(backbone) == last
    assert len(layers.depthwise(backbone)) == depthwise
    bits = layers.rounded(backbone, 3)
    assert {*bits} == {*backbone.prunable, *last}
    assert {name for name, each in bits.items() if each == 8} == {*first, *last}
    assert set(bits.values()) == {3, 8}


def test_a_network_that_reads_no_colours_begins_with_its_first_layer():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 2))
    flat = SimpleNamespace(model=model, classifier=model[3], prunable={"1.weight": model[1].weight})
    assert layers.first(flat) == ["1.weight"] and layers.depthwise(flat) == []
    assert layers.rounded(flat, 4) == {"1.weight": 8, "3.weight": 8}
