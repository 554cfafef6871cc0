"""The frame prompt and the augmentation of the vpns study."""

import pytest
import torch

from vpstudy.data.augmentation import shifted
from vpstudy.prompts.frame import FramePrompt


def test_a_new_frame_changes_nothing():
    pictures = torch.rand(3, 3, 16, 16)
    assert torch.equal(FramePrompt(16, 2)(pictures), pictures)


def test_only_the_frame_learns_and_shows():
    prompt = FramePrompt(16, 3)
    pictures = torch.full((2, 3, 16, 16), 0.5)
    weight = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    (prompt(pictures) * weight).sum().backward()
    inside = (slice(None), slice(3, 13), slice(3, 13))
    gradient = prompt.theta.grad.clone()
    assert not gradient[inside].any()
    gradient[inside] = 1
    assert gradient.all()
    with torch.no_grad():
        prompt.theta.fill_(0.25)
    assert torch.equal(prompt(pictures)[0][inside], pictures[0][inside])
    assert prompt(pictures)[0, :, 0].eq(0.75).all()
    assert prompt.frame.sum().item() == 4 * 3 * (16 - 3)


def test_the_papers_frame_has_as_many_parameters():
    assert 3 * FramePrompt(224, 16).frame.sum().item() == 39_936


def test_sums_are_clipped_and_gradients_pass():
    prompt = FramePrompt(8, 1)
    with torch.no_grad():
        prompt.theta.fill_(-3.0)
    shown = prompt(torch.rand(1, 3, 8, 8))
    assert shown.min() >= 0
    shown.sum().backward()
    assert prompt.theta.grad[:, 0].all()


@pytest.mark.parametrize("width", [0, 9])
def test_a_width_that_does_not_fit_is_refused(width):
    with pytest.raises(ValueError, match=f"width is {width} pixels; allowed are 1 to half"):
        FramePrompt(16, width)


def test_pictures_of_another_size_are_refused():
    with pytest.raises(ValueError, match="expected"):
        FramePrompt(16, 2)(torch.rand(1, 3, 12, 12))


def test_moved_pictures_against_a_loop():
    pictures = torch.randint(256, (5, 3, 9, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    moved = shifted(pictures, 2, torch.Generator().manual_seed(1))
    offsets = torch.randint(5, (2, 5, 1), generator=torch.Generator().manual_seed(1)).squeeze(-1)
    for n in range(5):
        for y in range(9):
            for x in range(7):
                row = min(max(y + int(offsets[0, n]) - 2, 0), 8)
                column = min(max(x + int(offsets[1, n]) - 2, 0), 6)
                assert torch.equal(moved[n, :, y, x], pictures[n, :, row, column])
    assert moved.dtype == torch.uint8


def test_no_move_is_the_same_tensor():
    pictures = torch.rand(2, 3, 4, 4)
    assert shifted(pictures, 0, torch.Generator()) is pictures
