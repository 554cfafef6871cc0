"""The target `letters`: held-out fonts, names of classes, a test set apart from the pool."""

import numpy as np
import pytest
import torch

from vpstudy.data import captions, glyphs, letters
from vpstudy.data.budgets import split
from vpstudy.data.targets import load


@pytest.fixture(scope="module")
def target():
    return load("letters", 32)


def test_every_letter_has_its_pictures_and_its_name(target):
    assert target.class_names == [captions.name(c) for c in glyphs.LATIN]
    assert len(set(target.class_names)) == len(glyphs.LATIN) == 43
    assert target.pictures.shape == (43 * 60, 3, 32, 32) and target.pictures.dtype == torch.uint8
    assert torch.bincount(target.labels).tolist() == [60] * 43
    assert torch.bincount(target.labels[target.test]).tolist() == [20] * 43


def test_letters_are_the_same_each_time(target):
    assert torch.equal(letters.load(32).pictures, target.pictures)


def test_no_font_is_one_of_the_source(monkeypatch):
    asked = []
    real = glyphs.glyph_masks
    monkeypatch.setattr(glyphs, "glyph_masks", lambda fonts: asked.append(fonts) or real(fonts))
    letters.load(16)
    assert set(asked) == {"held-out"}
    assert not set(glyphs.FONTS["held-out"]) & set(glyphs.FONTS["train"])


def test_labels_fit_the_pictures(target):
    """The mean picture of a letter resembles its own drawing more than those of most other letters do."""
    grey = target.pictures.float().mean(1)
    contrast = (grey - grey.mean((1, 2), keepdim=True)).abs().flatten(1)
    means = torch.stack([contrast[target.labels == k].mean(0) for k in range(43)])
    places = [glyphs.CHARACTERS.index(c) for c in glyphs.LATIN]
    drawn = glyphs.glyph_masks("held-out")[places, :, 0].float().mean(1)
    drawn = torch.nn.functional.interpolate(drawn[:, None], size=32, mode="area").flatten(1)
    alike = torch.corrcoef(torch.cat([means - means.mean(0), drawn - drawn.mean(0)]))[:43, 43:]
    ranks = (alike > alike.diagonal()[:, None]).sum(1).numpy()
    assert np.median(ranks) <= 2  # by chance 21


def test_there_are_enough_to_draw_from(target):
    parts = split(target, 16, 20, seed=0)
    assert len(parts.train) == 43 * 16
    assert not set(parts.train) & set(parts.test)
