"""Shifted pictures, against other libraries and by what must not change."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.filters import gaussian
from torchvision.transforms import functional

from vpstudy.data import shifts

PICTURES = torch.randint(0, 256, (4, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def smooth() -> torch.Tensor:
    return torch.from_numpy(ndimage.gaussian_filter(PICTURES.numpy().astype(float), (0, 0, 2, 2)) * 3 - 255).clamp(
        0, 255
    )


@pytest.mark.parametrize("name", shifts.SHIFTS)
def test_shifts_give_the_same_pictures_each_time_and_leave_theirs_alone(name):
    pictures = PICTURES.repeat(1, 1, 2, 2)
    before = pictures.clone()
    one, two = shifts.SHIFTS[name](pictures), shifts.SHIFTS[name](pictures)
    assert torch.equal(one, two) and torch.equal(pictures, before)
    assert one.shape == pictures.shape and one.dtype == torch.uint8 and one.is_contiguous()
    assert not torch.equal(one, pictures)


@pytest.mark.parametrize("name", [name for name in shifts.SHIFTS if name.split("-")[0] not in ("inverted", "pixelate")])
def test_the_size_of_blocks_changes_nothing(name, monkeypatch):
    pictures = PICTURES.repeat(1, 1, 3, 3)
    whole = shifts.SHIFTS[name](pictures)
    monkeypatch.setattr(shifts, "BLOCK", 3)
    assert torch.equal(shifts.SHIFTS[name](pictures), whole)


@pytest.mark.parametrize("side", [32, 64])
def test_blur_is_that_of_torchvision_away_from_the_edges(side):
    pictures = PICTURES.repeat(1, 1, side // 32, side // 32)
    sigma, edge = side / 32, 3 * side // 32
    expected = functional.gaussian_blur(pictures.float(), 2 * edge + 1, sigma)
    assert (shifts.blur(pictures) - expected)[..., edge:-edge, edge:-edge].abs().max() <= 0.51


def test_noise_has_its_deviation():
    grey = torch.full((50, 3, 32, 32), 128, dtype=torch.uint8)
    added = shifts.noise(grey).float() - 128
    assert added.mean().abs() < 0.5
    assert added.std().item() == pytest.approx(255 * 0.2, rel=0.03)


def test_inverting_twice_changes_nothing():
    assert torch.equal(shifts.inverted(shifts.inverted(PICTURES)), PICTURES)
    assert shifts.inverted(torch.zeros(1, 3, 2, 2, dtype=torch.uint8)).eq(255).all()


def test_rotation_is_anticlockwise_and_that_of_torchvision():
    pictures = smooth().round().to(torch.uint8)
    expected = functional.rotate(pictures.float(), 30, functional.InterpolationMode.BILINEAR)
    assert (shifts.rotated(pictures) - expected)[..., 8:24, 8:24].abs().max() <= 1
    dot = torch.zeros(1, 3, 33, 33, dtype=torch.uint8)
    dot[..., 16, 26:30] = 255  # to the right of the centre: goes up
    rows, columns = np.nonzero(shifts.rotated(dot)[0, 0].numpy())
    assert rows.mean() < 13 and columns.mean() > 20


# Corruptions of Tiny ImageNet-C: its pictures have 64 px, and blurs grow with the side.


@pytest.mark.parametrize(("severity", "sigma"), [(1, 0.5), (3, 1.0), (5, 1.5)])
@pytest.mark.parametrize("side", [64, 128])
def test_gaussian_blur_is_that_of_skimage(severity, sigma, side):
    pictures = PICTURES.repeat(1, 1, side // 32, side // 32)
    found = shifts.SHIFTS[f"gaussian_blur-{severity}"](pictures)
    expected = [255 * gaussian(one.numpy() / 255, sigma * side / 64, channel_axis=0) for one in pictures]
    assert np.abs(found.numpy() - np.stack(expected)).max() <= 0.51


@pytest.mark.parametrize(("severity", "deviation"), [(1, 0.04), (3, 0.12), (5, 0.18)])
def test_gaussian_noise_has_the_deviation_published(severity, deviation):
    grey = torch.full((50, 3, 32, 32), 128, dtype=torch.uint8)
    added = shifts.SHIFTS[f"gaussian_noise-{severity}"](grey).float() - 128
    assert added.mean().abs() < 0.5 and added.std().item() == pytest.approx(255 * deviation, rel=0.03)


@pytest.mark.parametrize(("severity", "factor"), [(1, 0.4), (3, 0.2), (5, 0.05)])
def test_contrast_keeps_the_mean_of_each_channel_and_shrinks_its_deviation(severity, factor):
    found, before = shifts.SHIFTS[f"contrast-{severity}"](PICTURES).double(), PICTURES.double()
    torch.testing.assert_close(found.mean((2, 3)), before.mean((2, 3)), atol=0.5, rtol=0)
    torch.testing.assert_close(found.std((2, 3)), factor * before.std((2, 3)), atol=0.1, rtol=0)
    pixel = before[1, 2].mean() + factor * (before[1, 2, 5, 7] - before[1, 2].mean())
    assert found[1, 2, 5, 7].item() == pytest.approx(pixel.item(), abs=0.51)


def test_pixelate_at_half_is_the_mean_of_squares_of_four():
    found = shifts.SHIFTS["pixelate-5"](PICTURES).float()
    squares = PICTURES.float().unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5))
    assert (found - squares.repeat_interleave(2, 2).repeat_interleave(2, 3)).abs().max() <= 1
    distinct = [len(shifts.SHIFTS[f"pixelate-{k}"](PICTURES)[0, 0, :, 0].unique()) for k in (1, 3, 5)]
    assert distinct[0] > distinct[1] > distinct[2]


@pytest.mark.parametrize("name", ["gaussian_noise-5", "pixelate-3"])
def test_a_larger_picture_is_corrupted_as_at_side_64_and_then_enlarged(name):
    small = (PICTURES // 4 + 96).repeat(1, 1, 2, 2)  # far from black and white

    def enlarged(pictures: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.interpolate(pictures.float(), size=(128, 128), mode="bilinear")

    large = enlarged(small).round().to(torch.uint8)
    found, expected = shifts.SHIFTS[name](large).float(), enlarged(shifts.SHIFTS[name](small))
    change, wanted = ((of - large).square().mean().item() for of in (found, expected))
    assert change == pytest.approx(wanted, rel=0.2)
    assert (found - expected).square().mean().item() < 0.25 * wanted  # to make it smaller blurs it a little


@pytest.mark.parametrize("corruption", [of.__name__ for of in shifts.CORRUPTIONS])
def test_a_higher_severity_takes_a_picture_farther(corruption):
    pictures = smooth().round().to(torch.uint8)
    far = [(shifts.SHIFTS[f"{corruption}-{k}"](pictures).float() - pictures).square().mean() for k in shifts.SEVERITIES]
    assert far[0] < far[1] < far[2]
