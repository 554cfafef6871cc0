"""What a prompt is trained in front of: fused backbones, prompts of every kind, learned output layers."""

import pytest
import torch
from torch import nn

from vpstudy.compression import activations
from vpstudy.models.backbones import Backbone
from vpstudy.models.fused import fused
from vpstudy.prompts.output import LinearOutput
from vpstudy.prompts.visual import make_prompt

SIZES = {"inner": 12, "canvas": 16, "rank": 3, "patch": 5, "seed": 0}


@pytest.fixture
def backbone():
    torch.manual_seed(0)
    made = Backbone("cnn", list("abcde"))
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):  # statistics and weights that change something
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    return made.frozen()


@pytest.mark.parametrize("bits", [None, 4])
def test_a_fused_backbone_computes_the_same(backbone, bits):
    if bits:
        layers = [name.removesuffix(".weight") for name in backbone.prunable]
        ranges = activations.calibrate(backbone.model, layers, [torch.randn(4, 3, 32, 32)], bits)
        activations.attach(backbone.model, ranges, bits)
    pictures = torch.rand(3, 3, 32, 32, requires_grad=True)
    copied = fused(backbone)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in copied.modules())
    assert any(isinstance(m, nn.BatchNorm2d) for m in backbone.modules())
    one, other = backbone(pictures), copied(pictures)
    # with rounding in between, a value at the edge of two steps may fall to the other side
    scale = one.abs().max()
    assert (one - other).abs().max() < (1e-5 if bits is None else 0.1) * scale
    if bits is None:
        gradients = [torch.autograd.grad(out.square().sum(), pictures)[0] for out in (one, other)]
        assert torch.allclose(*gradients, rtol=1e-3, atol=1e-5 * gradients[0].abs().max())
    assert copied.features(pictures).shape == (3, copied.classifier.in_features)


@pytest.mark.parametrize("kind", ["pad", "full", "low_rank", "patch", "random_patch"])
def test_every_prompt_keeps_to_the_canvas_and_learns(kind):
    prompt = make_prompt(kind, **SIZES)
    pictures = torch.rand(4, 3, prompt.inner, prompt.inner)
    prompted = prompt(pictures)
    assert prompted.shape == (4, 3, 16, 16)
    assert prompted.min() >= 0 and prompted.max() <= 1
    assert prompt.picture().shape == (3, 16, 16)
    optimizer = torch.optim.Adam(prompt.parameters(), 0.05)
    goal, losses = torch.rand(3, 16, 16), []
    for _ in range(30):
        loss = (prompt(pictures) - goal).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("kind", ["full", "low_rank", "patch"])
def test_an_added_prompt_starts_as_nothing(kind):
    pictures = torch.rand(2, 3, 16, 16)
    assert torch.equal(make_prompt(kind, **SIZES)(pictures), pictures)


def test_a_low_rank_prompt_has_its_rank():
    prompt = make_prompt("low_rank", **SIZES)
    nn.init.normal_(prompt.B)
    assert torch.linalg.matrix_rank(prompt.delta()).tolist() == [3, 3, 3]


def test_patches_lie_where_they_should():
    fixed, random = make_prompt("patch", **SIZES), make_prompt("random_patch", **SIZES)
    for prompt in (fixed, random):
        nn.init.ones_(prompt.theta)
    rows = fixed.delta()[0].sum(1).nonzero().flatten().tolist()
    assert rows == [0, 1, 2, 3, 4]
    random.train()
    places = {tuple(random.delta()[0].nonzero()[0].tolist()) for _ in range(40)}
    assert len(places) > 20 and all(0 <= top <= 11 and 0 <= left <= 11 for top, left in places)
    again = make_prompt("random_patch", **SIZES).train()
    nn.init.ones_(again.theta)
    assert {tuple(again.delta()[0].nonzero()[0].tolist()) for _ in range(40)} == places
    random.eval()
    assert random.delta()[0].nonzero()[0].tolist() == [5, 5]


def test_a_clipped_pixel_can_come_back():
    prompt = make_prompt("full", **SIZES)
    nn.init.constant_(prompt.theta, 2.0)
    prompt(torch.full((1, 3, 16, 16), 0.5)).sum().backward()
    assert (prompt.theta.grad == 1).all()


@pytest.mark.parametrize(
    ("kind", "sizes", "said"),
    [
        ("ring", {}, "'ring' is unknown; allowed: pad, full"),
        ("low_rank", {"rank": 17}, "rank is 17"),
        ("patch", {"patch": 17}, "patch is 17"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(kind, sizes, said):
    with pytest.raises(ValueError, match=said):
        make_prompt(kind, **(SIZES | sizes))


def test_a_learned_output_starts_as_the_mapping_and_is_learned_whole():
    mapping = torch.tensor([4, 0, 2])
    output, logits = LinearOutput(6, 3, mapping), torch.randn(5, 6)
    assert torch.equal(output(logits), logits[:, mapping])
    output(logits).square().sum().backward()
    assert (output.linear.weight.grad != 0).all() and (output.linear.bias.grad != 0).all()
    with pytest.raises(ValueError, match=r"expected \(3,\)"):
        output.start_from(torch.tensor([1]))
