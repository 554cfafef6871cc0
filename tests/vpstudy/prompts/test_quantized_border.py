"""Quantized borders: what they show, what they store, and training through the quantizer."""

import numpy as np
import pytest
import torch

from vpstudy.data import glyphs
from vpstudy.models.architectures import ARCHITECTURES
from vpstudy.models.backbones import Backbone
from vpstudy.prompts.codebook import quantized, stored_bytes
from vpstudy.prompts.quantized import FixedBorder, QuantizedBorder, Settings
from vpstudy.prompts.visual.modules import BorderPrompt
from vpstudy.runtime import Runtime
from vpstudy.training.data import TransferData
from vpstudy.training.settings import VisualPrompting
from vpstudy.training.visual_prompting import answers, visual_prompting

INNER, CANVAS = 20, 32
N = 3 * (CANVAS**2 - INNER**2)
THETA = torch.randn(3, CANVAS, CANVAS, generator=torch.Generator().manual_seed(0))
PICTURES = torch.rand(4, 3, INNER, INNER, generator=torch.Generator().manual_seed(1))
HOW = {"steps": 6, "batch": 16, "learning_rates": [0.1], "evaluations": 2, "canvas": CANVAS, "epochs": 1}
HOW = VisualPrompting(**HOW, prompt="border", prompts={"border": {"inner": INNER}}, mapping="iterative", remaps=2)


@pytest.fixture(scope="module")
def data():
    return TransferData("digits", 5, Runtime(torch.device("cpu"), "fp32", 1))


@pytest.fixture(scope="module")
def backbone():
    return Backbone(ARCHITECTURES["cnn"], glyphs.class_names, seed=1)


def border_of(kind=BorderPrompt, *more):
    border = kind(INNER, CANVAS, *more)
    with torch.no_grad():
        border.theta.copy_(THETA)
    return border


def test_a_fixed_border_shows_the_values_it_is_given():
    border = usual = border_of()
    assert border.values().shape == (N,)
    fixed = FixedBorder(INNER, CANVAS, border.values())
    assert torch.equal(fixed(PICTURES), usual(PICTURES))
    with pytest.raises(ValueError, match=rf"values have shape \(3,\); this border has \({N},\)"):
        FixedBorder(INNER, CANVAS, torch.zeros(3))


@pytest.mark.parametrize("bits", [1, 3])
def test_only_the_border_is_quantized_and_gradients_are_those_of_the_full_one(bits):
    border = border_of(QuantizedBorder, Settings(bits, normalise=False))
    usual = border_of(BorderPrompt)
    shown = border(PICTURES)
    assert torch.equal(shown[..., 6:26, 6:26], PICTURES)
    assert len(border.shown()[border.outside].unique()) <= 2**bits
    weight = torch.randn(shown.shape, generator=torch.Generator().manual_seed(2))
    (shown * weight).sum().backward()
    (usual(PICTURES) * weight).sum().backward()
    torch.testing.assert_close(border.theta.grad, usual.theta.grad)
    with pytest.raises(ValueError, match="give normalise=False"):
        QuantizedBorder(INNER, CANVAS, Settings(bits))


@pytest.mark.parametrize("bits", range(1, 9))
def test_what_is_stored_is_counted_to_the_byte_and_shown_again(bits):
    values = border_of().values().detach()
    packed = quantized(values, bits, "clustered")
    counted = packed.codes.numpy().nbytes + packed.book.numpy().nbytes
    assert counted == packed.bytes == stored_bytes(N, bits) == -(-N * bits // 8) + 2 * 2**bits
    shown = packed.unpacked()
    nearest = packed.book.float()[(values[:, None] - packed.book.float()).abs().argmin(1)]
    assert (shown - values).abs().max() <= (nearest - values).abs().max() + 1e-3
    even = quantized(values, bits, "uniform").unpacked()
    assert (shown - values).square().mean() <= (even - values).square().mean() + 1e-7


def test_a_border_that_is_stored_answers_as_the_one_that_was_trained(data, backbone):
    outcome = visual_prompting(backbone, data, 2, 0, HOW)
    border = BorderPrompt(INNER, CANVAS)
    border.load_state_dict({"theta": outcome.artefact["prompt.theta"]})
    test = data.split(2, 0).test
    logits = answers(backbone, data, HOW, border.values().detach(), outcome.artefact, test)
    np.testing.assert_allclose(logits, outcome.logits["test"], rtol=1e-5, atol=1e-5)


def test_training_through_the_quantizer_gives_the_border_that_it_was_measured_with(data, backbone, monkeypatch):
    monkeypatch.setattr("vpstudy.training.fit.rank", lambda entry: entry["step"])  # the last moment, not the start
    border, same = (QuantizedBorder(INNER, CANVAS, Settings(1, normalise=False, interval=1)) for _ in range(2))
    outcome = visual_prompting(backbone, data, 2, 0, HOW, border)
    stored = border.packed().unpacked()
    assert len(stored.unique()) == 2
    torch.testing.assert_close(stored, border.shown()[border.outside], rtol=0, atol=1e-3)  # half precision
    logits = answers(
        backbone, data, HOW, border.shown()[border.outside].detach(), outcome.artefact, data.split(2, 0).test
    )
    np.testing.assert_allclose(logits, outcome.logits["test"], rtol=1e-5, atol=1e-5)
    assert border.quantizer.divergences, "the codebook was never compared: step is not called"
    again = visual_prompting(backbone, data, 2, 0, HOW, same)
    assert np.array_equal(outcome.logits["test"], again.logits["test"]) and torch.equal(
        stored, same.packed().unpacked()
    )


def test_an_untrained_border_has_the_mapping_that_training_starts_from(data, backbone):
    grey = visual_prompting(backbone, data, 2, 0, HOW.untrained)
    frozen = visual_prompting(
        backbone, data, 2, 0, HOW.model_copy(update={"mapping": "frequency", "steps": 1, "evaluations": 1})
    )
    assert torch.equal(grey.artefact["mapping"], frozen.artefact["mapping"])
    assert not grey.artefact["prompt.theta"].any()
