"""bf16 in place of fp32: faster where there are units for it, and no other conclusion."""

import copy
import math

import pytest
import torch

from vpstudy.compression.magnitude import magnitude
from vpstudy.compression.settings import Source
from vpstudy.data import glyphs
from vpstudy.models.architectures import ARCHITECTURES
from vpstudy.models.backbones import Backbone
from vpstudy.runtime import Runtime
from vpstudy.training.data import TransferData
from vpstudy.training.linear_probe import linear_probe
from vpstudy.training.pretraining import train_on_source
from vpstudy.training.settings import LinearProbe, VisualPrompting
from vpstudy.training.visual_prompting import visual_prompting

SOURCE = Source(seed=0, size=32, steps=300, batch=64, learning_rate=0.01, weight_decay=0.0, held_out=100)
STEPS = {"steps": 80, "batch": 64, "evaluations": 2}
PROBE = LinearProbe(**STEPS, learning_rates=[0.01], size=32, inner=None)
PROMPT = VisualPrompting(
    **STEPS,
    learning_rates=[0.1],
    canvas=32,
    prompt="border",
    prompts={"border": {"inner": 20}},
    mapping="iterative",
    epochs=5,
)
SPARSITY = 0.95  # without recovery: a loss that no rounding hides


@pytest.fixture(scope="module")
def backbones():
    """A network trained for some seconds, and the same pruned without recovery."""
    dense = Backbone(ARCHITECTURES["cnn"], glyphs.class_names)
    runtime = Runtime(torch.device("cpu"), "fp32", torch.get_num_threads())
    train_on_source(dense, SOURCE, runtime, stream="test", label="test")
    pruned = copy.deepcopy(dense)
    magnitude(pruned.prunable, SPARSITY).apply_(pruned.prunable)
    return dense.frozen(), pruned.frozen()


@pytest.mark.parametrize(("way", "settings"), [(linear_probe, PROBE), (visual_prompting, PROMPT)])
def test_bf16_concludes_what_fp32_does(backbones, way, settings):
    accuracy, errors = {}, {}
    for precision in ("fp32", "bf16"):
        data = TransferData("digits", 20, Runtime(torch.device("cpu"), precision, torch.get_num_threads()))
        for name, backbone in zip(("dense", "pruned"), backbones, strict=True):
            outcome = way(backbone, data, "all", 0, settings)
            labels = data.labels[data.split("all", 0).test].numpy()
            p = (outcome.probabilities["test"].argmax(1) == labels).mean()
            accuracy[precision, name], errors[precision, name] = p, math.sqrt(p * (1 - p) / len(labels))
    for name in ("dense", "pruned"):  # as far apart as two draws of the test set may be
        apart = abs(accuracy["fp32", name] - accuracy["bf16", name])
        assert apart < 3 * math.hypot(errors["fp32", name], errors["bf16", name])
    for precision in ("fp32", "bf16"):
        cost = accuracy[precision, "dense"] - accuracy[precision, "pruned"]
        assert cost > 3 * math.hypot(errors[precision, "dense"], errors[precision, "pruned"])
