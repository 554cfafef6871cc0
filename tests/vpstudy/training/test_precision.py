"""bf16 in place of fp32: outputs and gradients agree as closely as eight bits of a significand allow."""

import pytest
import torch

from vpstudy.data import glyphs
from vpstudy.models.architectures import ARCHITECTURES
from vpstudy.models.backbones import Backbone
from vpstudy.prompts.visual.border import Border
from vpstudy.runtime import Runtime
from vpstudy.training.data import Examples, TransferData
from vpstudy.training.fit import logits_of
from vpstudy.training.visual_prompting import PromptedBackbone

RUNTIMES = {name: Runtime(torch.device("cpu"), name, 1) for name in ("fp32", "bf16")}
CLOSE = 0.05  # of the root mean square; a step of bf16 is 1/256 of a value, and errors of layers add up


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """Root mean square of the difference, as a share of that of `one`."""
    return ((one - other).square().mean() / one.square().mean()).sqrt().item()


@pytest.fixture
def backbone() -> Backbone:
    return Backbone(ARCHITECTURES["cnn"], glyphs.class_names, seed=1).frozen()


def test_logits_and_gradients_of_a_prompt_agree(backbone):
    pictures, labels = glyphs.dataset(32, seed=0, size=20)
    logits, gradients = {}, {}
    for name, runtime in RUNTIMES.items():
        learner = PromptedBackbone(backbone, Border(inner=20).make(32, seed=0), "random", 10, seed=0)
        logits[name] = logits_of(learner, Examples(pictures, labels % 10), runtime)
        with runtime.autocast():
            learner.loss(pictures.float() / 255, labels % 10).backward()
        gradients[name] = learner.prompt.theta.grad
    assert 0 < apart(logits["fp32"], logits["bf16"]) < CLOSE
    # a unit near zero passes a gradient in one precision and none in the other, so directions are compared
    cosine = torch.cosine_similarity(gradients["fp32"].flatten(), gradients["bf16"].flatten(), dim=0)
    assert 0.9 < cosine < 1


def test_features_of_a_probe_agree(backbone):
    features = {name: TransferData("faces", 5, runtime).features(backbone, 32) for name, runtime in RUNTIMES.items()}
    assert 0 < apart(*features.values()) < CLOSE
