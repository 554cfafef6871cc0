"""The border prompt: the picture passes untouched, and only the border learns."""

import pytest
import torch
from torch import nn

from vpstudy.prompts.visual.modules import BorderPrompt

SIZES = [(32, 48), (32, 33), (5, 12), (1, 2), (31, 48)]


def random_pictures(*shape: int, seed: int = 0, **options) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), **options)


def random_prompt(inner: int, canvas: int) -> BorderPrompt:
    prompt = BorderPrompt(inner, canvas)
    nn.init.normal_(prompt.theta, generator=torch.Generator().manual_seed(1))
    return prompt


def window(inner: int, canvas: int) -> tuple:
    start = (canvas - inner) // 2
    return (..., slice(start, start + inner), slice(start, start + inner))


def inside(inner: int, canvas: int) -> torch.Tensor:
    mask = torch.zeros(canvas, canvas, dtype=torch.bool)
    mask[window(inner, canvas)] = True
    return mask


@pytest.mark.parametrize(("inner", "canvas"), SIZES)
def test_picture_is_untouched_and_border_is_the_sigmoid(inner, canvas):
    pictures, prompt = random_pictures(3, 3, inner, inner), random_prompt(inner, canvas)
    shown = prompt(pictures)
    assert shown.shape == (3, 3, canvas, canvas)
    assert torch.equal(shown[window(inner, canvas)], pictures)
    border = ~inside(inner, canvas)
    assert torch.equal(shown[:, :, border], torch.sigmoid(prompt.theta)[:, border].expand(3, -1, -1))


def test_an_odd_difference_leaves_the_wider_margin_right_and_below():
    shown = BorderPrompt(2, 5)(torch.ones(1, 3, 2, 2))[0, 0]
    expected = torch.full((5, 5), 0.5)
    expected[1:3, 1:3] = 1.0
    assert torch.equal(shown, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_picture_is_untouched_in_any_precision(dtype):
    pictures = random_pictures(2, 3, 8, 8, dtype=torch.float64).to(dtype)
    pictures[0, 0, 0, :2] = torch.tensor([-0.0, torch.finfo(dtype).smallest_normal])
    shown = random_prompt(8, 12)(pictures)[window(8, 12)]
    assert torch.equal(shown.to(dtype), pictures)
    assert torch.equal(shown.signbit(), pictures.signbit())


def test_autocast_and_channels_last_change_nothing():
    pictures, prompt = random_pictures(2, 3, 8, 8), random_prompt(8, 12)
    plain = prompt(pictures)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(prompt(pictures), plain)
    assert torch.equal(prompt(pictures.contiguous(memory_format=torch.channels_last)), plain)


@pytest.mark.parametrize(("inner", "canvas"), SIZES)
def test_gradient_reaches_the_whole_border_and_nothing_else(inner, canvas):
    prompt = random_prompt(inner, canvas)
    weight = random_pictures(2, 3, canvas, canvas, seed=2) + 0.1
    (prompt(random_pictures(2, 3, inner, inner)) * weight).sum().backward()
    mask = inside(inner, canvas)
    assert (prompt.theta.grad[:, mask] == 0.0).all()
    assert (prompt.theta.grad[:, ~mask] > 0.0).all()


def test_gradient_agrees_with_finite_differences():
    prompt, pictures = random_prompt(4, 7).double(), random_pictures(2, 3, 4, 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda theta: torch.func.functional_call(prompt, {"theta": theta}, pictures), prompt.theta
    )


def test_gradient_with_respect_to_the_picture_is_that_of_its_window():
    pictures = random_pictures(2, 3, 4, 4).requires_grad_()
    readout = random_pictures(2, 3, 7, 7, seed=4)
    (random_prompt(4, 7)(pictures) * readout).sum().backward()
    assert torch.equal(pictures.grad, readout[window(4, 7)])


def test_learned_prompt_as_an_image():
    assert torch.equal(BorderPrompt(2, 4).picture()[0, 0], torch.full((4,), 0.5))
    prompt = random_prompt(5, 12)
    image = prompt.picture()
    assert not image.requires_grad
    assert torch.equal(image, prompt(torch.zeros(1, 3, 5, 5))[0].detach())
    assert prompt.theta.detach().abs().min() > 0.0  # making the image changed nothing


def test_state_is_theta_alone():
    prompt = random_prompt(5, 12)
    assert list(prompt.state_dict()) == ["theta"]
    other = BorderPrompt(5, 12)
    other.load_state_dict(prompt.state_dict())
    assert torch.equal(other.picture(), prompt.picture())


@pytest.mark.parametrize(("inner", "canvas"), [(48, 48), (64, 48), (0, 8), (-1, 8)])
def test_no_border_or_no_picture_is_an_error(inner, canvas):
    with pytest.raises(ValueError, match=rf"inner is {inner} and canvas is {canvas}"):
        BorderPrompt(inner, canvas)


@pytest.mark.parametrize(
    "pictures", [torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.zeros(2, 1, 8, 8), torch.zeros(2, 3, 9, 9)]
)
def test_other_than_rgb_floats_of_its_size_is_an_error(pictures):
    with pytest.raises(ValueError, match=r"shape \(N, 3, 8, 8\)"):
        BorderPrompt(8, 12)(pictures)
