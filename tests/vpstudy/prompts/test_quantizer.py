"""Quantized prompts: values, gradients, refits, storage."""

import pytest
import torch

from vpstudy.prompts import codebook
from vpstudy.prompts.quantized import Quantizer, Settings

PROMPT = torch.randn(4, 128, generator=torch.Generator().manual_seed(0)) * 0.02 + 0.003


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("scheme", codebook.SCHEMES)
def test_values_are_few_and_nearest(bits, scheme):
    quantizer = Quantizer(PROMPT, Settings(bits, scheme))
    quantized = quantizer(PROMPT)
    values = quantized.unique()
    assert len(values) <= 2**bits
    mean, deviation = PROMPT.mean(), PROMPT.std(correction=0)
    every = quantizer.book * deviation + mean
    brute = every[(PROMPT[..., None] - every).abs().argmin(-1)]
    torch.testing.assert_close(quantized, brute)


def test_the_gradient_is_that_of_the_identity():
    values = PROMPT.clone().requires_grad_(True)
    weight = torch.randn(4, 128, generator=torch.Generator().manual_seed(1))
    (Quantizer(PROMPT, Settings(2))(values) * weight).sum().backward()
    assert torch.equal(values.grad, weight)


def test_scaling_and_moving_the_prompt_changes_no_code():
    quantizer = Quantizer(PROMPT, Settings(3))
    first, second = quantizer(PROMPT), quantizer(PROMPT * 7 - 0.2)
    torch.testing.assert_close(first * 7 - 0.2, second, rtol=1e-4, atol=1e-6)


def test_without_normalisation_the_codebook_stays_where_it_was():
    quantizer = Quantizer(PROMPT, Settings(2, normalise=False, refit="never"))
    moved = quantizer(PROMPT + 1)
    assert len(moved.unique()) == 1
    assert moved.max() <= PROMPT.max()


@pytest.mark.parametrize(("refit", "fits"), [("never", [0]), ("always", [0, 1, 2, 3, 4, 5, 6])])
def test_refits_that_are_fixed(refit, fits):
    quantizer = Quantizer(PROMPT, Settings(2, refit=refit))
    for _ in range(6):
        quantizer.step(PROMPT)
    assert quantizer.refits == fits


def test_adaptive_clustering_waits_and_then_follows_the_drift():
    quantizer = Quantizer(PROMPT, Settings(2, interval=3, threshold=0.05))
    for _ in range(7):
        quantizer.step(PROMPT)
    assert quantizer.refits == [0]  # nothing has changed
    assert quantizer.divergences == [(3, 0.0), (4, 0.0), (5, 0.0), (6, 0.0), (7, 0.0)]
    skewed = PROMPT.sign() * PROMPT.abs() ** 0.25
    quantizer.step(skewed)
    assert quantizer.refits == [0, 8]
    assert quantizer.divergences[-1][1] > 0.05
    quantizer.step(skewed)
    assert len(quantizer.divergences) == 6  # waits again
    expected = codebook.fit(codebook.standardise(skewed)[0], 2)
    assert torch.equal(quantizer.book, expected)


def test_one_bit_hardly_ever_drifts():
    """Two clusters of a symmetric distribution share it in halves, however wide it is."""
    quantizer = Quantizer(PROMPT, Settings(1, interval=1, threshold=0.01))
    draw = torch.Generator().manual_seed(2)
    values = PROMPT.clone()
    for _ in range(50):
        values = values + 0.01 * torch.randn(values.shape, generator=draw)
        quantizer.step(values)
    assert quantizer.refits == [0]


def test_what_is_stored_is_what_is_used_to_half_precision():
    quantizer = Quantizer(PROMPT, Settings(2))
    packed = quantizer.packed(PROMPT)
    torch.testing.assert_close(packed.unpacked(), quantizer(PROMPT), rtol=1e-3, atol=1e-6)
    assert packed.bytes == codebook.stored_bytes(PROMPT.numel(), 2)


@pytest.mark.parametrize("wrong", [{"bits": 9}, {"refit": "often"}, {"interval": 0}, {"threshold": -1.0}])
def test_bad_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=r"should be (less|greater) than|should be 'cac', 'never' or 'always'"):
        Settings(**{"bits": 1, **wrong})
