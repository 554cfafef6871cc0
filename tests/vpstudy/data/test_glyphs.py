from pathlib import Path

import matplotlib
import pytest
import torch
from matplotlib.ft2font import FT2Font

from vpstudy.data import glyphs


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_classes_are_distinct_characters_and_hold_every_digit():
    assert len(set(glyphs.class_names)) == len(glyphs.class_names) == 79
    assert set("0123456789Oo") <= set(glyphs.class_names)


@pytest.mark.parametrize("fonts", glyphs.FONTS)
def test_every_font_has_every_character(fonts):
    for font in glyphs.FONTS[fonts]:  # the font file's own table is the oracle
        table = FT2Font(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{font}.ttf")).get_charmap()
        assert {ord(character) for character in glyphs.class_names} <= table.keys(), font


@pytest.mark.parametrize("fonts", glyphs.FONTS)
def test_masks_are_centred_whole_and_differ_between_characters(fonts):
    sharp = glyphs.glyph_masks(fonts)[:, :, 0]
    assert sharp.shape == (79, len(glyphs.FONTS[fonts]), glyphs.MASK_SIZE, glyphs.MASK_SIZE)
    inked = sharp > 0
    assert not inked[..., [0, -1], :].any() and not inked[..., [0, -1]].any(), "a character touches the edge"
    for axis in (-1, -2):
        line = inked.any(axis)
        first, last = line.int().argmax(-1), glyphs.MASK_SIZE - 1 - line.flip(-1).int().argmax(-1)
        assert (first + last - (glyphs.MASK_SIZE - 1)).abs().max() <= 1
    for font in sharp.transpose(0, 1).flatten(2):
        assert len(font.unique(dim=0)) == 79


def test_blur_keeps_the_ink_and_softens_the_edge():
    masks = glyphs.glyph_masks("train").float()
    assert torch.allclose(masks[:, :, 1].sum((-1, -2)), masks[:, :, 0].sum((-1, -2)), rtol=0.02)
    steepest = masks.diff(dim=-1).abs().amax((0, 1, 3, 4))
    assert steepest[0] > steepest[1] > steepest[2]


def test_missing_characters_and_unknown_fonts_are_named(monkeypatch):
    with pytest.raises(ValueError, match="held-out"):
        glyphs.glyph_masks("all")
    monkeypatch.setattr(glyphs, "CHARACTERS", "漢")
    with pytest.raises(ValueError, match=r"DejaVuSans\.ttf has no character '漢'"):
        glyphs.glyph_masks.__wrapped__("train")  # beside the cache


def test_render_depends_on_the_generator_alone():
    labels = torch.arange(79)
    first = glyphs.render(labels, generator())
    assert first.shape == (79, 3, 32, 32) and first.dtype == torch.uint8
    torch.rand(5)  # global randomness must not matter
    assert torch.equal(glyphs.render(labels, generator()), first)
    assert not torch.equal(glyphs.render(labels, generator(1)), first)
    assert glyphs.render(labels, generator(), size=48).shape == (79, 3, 48, 48)


def test_pictures_are_both_light_on_dark_and_dark_on_light_with_contrast(monkeypatch):
    monkeypatch.setattr(glyphs, "PAGE", (1.5, 1.5))  # no edge in sight, so the corners show the ground
    pictures = glyphs.render(torch.full((400,), glyphs.class_names.index("H")), generator()).float() / 255
    grey = pictures.mean(1)
    ground = torch.cat([grey[:, :2].flatten(1), grey[:, -2:].flatten(1)], 1).median(1).values
    character = grey[:, 12:20, 8:24].flatten(1)
    lighter = character.amax(1) - ground > ground - character.amin(1)
    assert 0.4 < lighter.float().mean() < 0.6
    contrast = torch.maximum(character.amax(1) - ground, ground - character.amin(1))
    assert contrast.quantile(0.1) > 0.2


def test_unturned_undistorted_pictures_show_the_mask(monkeypatch):
    plain = {"ROTATION": 0, "SCALE": 1, "STRETCH": 1, "SHEAR": 0, "SHIFT": 0, "TINT": 0, "NOISE": 0}
    for name, value in (plain | {"PAGE": (1.5, 1.5)}).items():
        monkeypatch.setattr(glyphs, name, value)
    picture = glyphs.render(torch.tensor([0]), generator())[0].float()
    masks = glyphs.glyph_masks("train")[0].float()
    halves = torch.nn.functional.avg_pool2d(masks, 2).flatten(2).flatten(0, 1)  # 64 -> 32 px
    correlation = torch.corrcoef(torch.cat([picture[:1].flatten(1), halves]))[0, 1:]
    assert correlation.abs().max() > 0.999


def test_beyond_the_page_lies_one_other_colour_and_no_character(monkeypatch):
    monkeypatch.setattr(glyphs, "PAGE", (0.25, 0.25))  # cuts through every character
    monkeypatch.setattr(glyphs, "NOISE", 0)
    pictures = glyphs.render(torch.arange(79), generator())
    page = torch.zeros(32, 32, dtype=torch.bool)
    page[12:20, 12:20] = True
    beyond, inside = pictures[..., ~page], pictures[..., page].float()
    assert torch.equal(beyond, beyond[..., :1].expand_as(beyond))
    assert inside.std(-1).amax(1).median() > 10, "the character is on the page"


def test_data_set_is_balanced_repeatable_and_apart_from_training_draws():
    pictures, labels = glyphs.dataset(200, seed=0)
    assert pictures.shape == (200, 3, 32, 32) and labels.dtype == torch.int64
    assert set(labels.bincount(minlength=79).tolist()) == {2, 3}
    again, same_labels = glyphs.dataset(200, seed=0)
    assert torch.equal(pictures, again) and torch.equal(labels, same_labels)
    assert not torch.equal(pictures, glyphs.dataset(200, seed=1)[0])
    assert not torch.equal(pictures, glyphs.dataset(200, seed=0, fonts="held-out")[0])
    assert not torch.equal(pictures[:128], glyphs.render(labels[:128], generator(0)))
    with pytest.raises(ValueError, match="at least 1"):
        glyphs.dataset(0, seed=0)


def test_example_is_black_on_white():
    picture = glyphs.example(glyphs.class_names.index("o"), size=48)
    assert picture.shape == (3, 48, 48) and picture.dtype == torch.uint8
    assert picture[:, 0, 0].tolist() == [255] * 3 and picture.min() < 30
    assert picture[0, 24, 24] == 255, "the middle of an o is empty"
