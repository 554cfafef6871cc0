"""Shifted pictures, against other libraries and by what must not change."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from torchvision.transforms import functional

from vpstudy.data import shifts

PICTURES = torch.randint(0, 256, (4, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def smooth() -> torch.Tensor:
    return torch.from_numpy(ndimage.gaussian_filter(PICTURES.numpy().astype(float), (0, 0, 2, 2)) * 3 - 255).clamp(
        0, 255
    )


@pytest.mark.parametrize("name", shifts.SHIFTS)
def test_shifts_give_the_same_pictures_each_time_and_leave_theirs_alone(name):
    before = PICTURES.clone()
    one, two = shifts.SHIFTS[name](PICTURES), shifts.SHIFTS[name](PICTURES)
    assert torch.equal(one, two) and torch.equal(PICTURES, before)
    assert one.shape == PICTURES.shape and one.dtype == torch.uint8
    assert not torch.equal(one, PICTURES)


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
