"""Prompts that are added to a picture, the registry that names them all, and the augmentation of the vpns study."""

import copy
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.fingerprints import digests
from studies.parameters import read, validate
from vpstudy import paths
from vpstudy.data import glyphs
from vpstudy.data.augmentation import shifted
from vpstudy.models.architectures import ARCHITECTURES
from vpstudy.models.backbones import Backbone
from vpstudy.prompts.visual import registry
from vpstudy.prompts.visual.circle import Circle
from vpstudy.prompts.visual.frame import Frame
from vpstudy.prompts.visual.kinds import Added
from vpstudy.prompts.visual.registry import PROMPTS, Prompting
from vpstudy.runtime import Runtime
from vpstudy.settings import ParameterError, Positive, problems_of
from vpstudy.training.data import TransferData
from vpstudy.training.visual_prompting import visual_prompting

CANVAS = 16
SIZES = {
    "border": {"inner": 12},
    "full": {},
    "low_rank": {"rank": 3},
    "patch": {"side": 5},
    "random_patch": {"side": 5},
}
SIZES |= {"frame": {"width": 3}, "circle": {"width": 3}}
ADDED = [name for name, kind in PROMPTS.items() if issubclass(kind, Added)]


def made(name: str, **sizes) -> nn.Module:
    return PROMPTS[name](**(sizes or SIZES[name])).make(CANVAS, seed=0)


@pytest.mark.parametrize("name", PROMPTS)
def test_every_prompt_keeps_to_the_canvas_and_learns(name):
    prompt = made(name)
    pictures = torch.full((4, 3, prompt.inner, prompt.inner), 0.2)
    prompted = prompt(pictures)
    assert prompted.shape == (4, 3, CANVAS, CANVAS) and prompted.min() >= 0 and prompted.max() <= 1
    shown = prompt.picture()
    assert shown.shape == (3, CANVAS, CANVAS) and shown.min() >= 0 and shown.max() <= 1
    goal = 0.8
    optimizer, losses = torch.optim.Adam(prompt.parameters(), 0.05), []
    for _ in range(30):
        loss = (prompt(pictures) - goal).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(parameter.grad.any() for parameter in prompt.parameters())


@pytest.mark.parametrize("name", ADDED)
def test_an_added_prompt_starts_as_nothing(name):
    pictures = torch.rand(2, 3, CANVAS, CANVAS)
    assert torch.equal(made(name)(pictures), pictures)
    with pytest.raises(ValueError, match="expected"):
        made(name)(torch.rand(1, 3, 12, 12))


@pytest.mark.parametrize("kind", [Frame(width=3), Circle(width=3), Circle(width=8)])
def test_a_masked_prompt_learns_and_changes_the_pixels_of_its_mask_alone(kind):
    prompt, pictures = kind.make(CANVAS, seed=0), torch.full((2, 3, CANVAS, CANVAS), 0.5)
    mask = torch.from_numpy(kind.mask(CANVAS))
    weight = torch.randn(2, 3, CANVAS, CANVAS, generator=torch.Generator().manual_seed(0))
    (prompt(pictures) * weight).sum().backward()
    assert torch.equal(prompt.theta.grad != 0, mask.expand(3, -1, -1))
    nn.init.constant_(prompt.theta, 0.25)
    assert torch.equal(prompt(pictures)[0] == 0.75, mask.expand(3, -1, -1))
    assert torch.equal(prompt(pictures)[0] == 0.5, ~mask.expand(3, -1, -1))


@pytest.mark.parametrize(("canvas", "width"), [(16, 3), (16, 8), (33, 1)])
def test_a_frame_has_as_many_pixels_as_its_formula_says(canvas, width):
    assert Frame(width=width).mask(canvas).sum() == 4 * width * (canvas - width)


def test_the_papers_frame_has_as_many_values():
    assert 3 * Frame(width=16).mask(224).sum() == 39_936


@pytest.mark.parametrize(("canvas", "width"), [(16, 3), (32, 4), (33, 5), (224, 16), (224, 112)])
def test_a_circle_has_the_pixels_of_a_ring(canvas, width):
    mask = Circle(width=width).mask(canvas)
    for turned in (np.rot90(mask), mask.T):
        assert np.array_equal(mask, turned)
    radius = canvas / 2
    assert abs(mask.sum() - math.pi * width * (canvas - width)) <= 2 * math.sqrt(2) * math.pi * radius
    by_hand = [
        radius - width < math.dist((y, x), ((canvas - 1) / 2,) * 2) <= radius
        for y in range(canvas)
        for x in range(canvas)
    ]
    assert mask.flatten().tolist() == by_hand
    assert not mask[0, 0] and mask[0, canvas // 2]
    assert mask[canvas // 2, canvas // 2] == (2 * width >= canvas)


def test_a_low_rank_prompt_has_its_rank():
    prompt = made("low_rank")
    nn.init.normal_(prompt.B)
    assert torch.linalg.matrix_rank(prompt.delta()).tolist() == [3, 3, 3]


def test_patches_lie_where_they_should():
    fixed, random = made("patch"), made("random_patch")
    for prompt in (fixed, random):
        nn.init.ones_(prompt.theta)
    assert fixed.delta()[0].sum(1).nonzero().flatten().tolist() == [0, 1, 2, 3, 4]
    again = copy.deepcopy(random)
    places = {tuple(random.delta()[0].nonzero()[0].tolist()) for _ in range(40)}
    assert len(places) > 20 and all(0 <= top <= 11 and 0 <= left <= 11 for top, left in places)
    assert {tuple(again.delta()[0].nonzero()[0].tolist()) for _ in range(40)} == places
    random.eval()
    assert random.delta()[0].nonzero()[0].tolist() == [5, 5]


def test_sums_are_clipped_and_a_clipped_pixel_can_come_back():
    prompt = made("full")
    nn.init.constant_(prompt.theta, 2.0)
    shown = prompt(torch.full((1, 3, CANVAS, CANVAS), 0.5))
    assert shown.max() == 1
    shown.sum().backward()
    assert (prompt.theta.grad == 1).all()


@pytest.mark.parametrize(
    ("prompt", "prompts", "said"),
    [
        ("ring", {}, "prompt: 'ring': no such visual prompt; allowed: border, full"),
        ("full", {"ring": {}}, "prompts.ring: 'ring': no such visual prompt"),
        ("full", {"circle": {"width": 1}}, "prompts: the settings of 'full', which is used, are missing"),
        ("border", {"border": {"inner": 16}}, "prompts.border: inner (16) must be below canvas (16)"),
        ("low_rank", {"low_rank": {"rank": 17}}, "prompts.low_rank: rank (17) must not exceed canvas (16)"),
        ("patch", {"patch": {"side": 17}}, "prompts.patch: side (17) must not exceed canvas (16)"),
        ("frame", {"frame": {"width": 9}}, "prompts.frame: width (9) must not exceed half of canvas (16)"),
        ("circle", {"circle": {"width": 9}}, "prompts.circle: width (9) must not exceed half of canvas (16)"),
        ("circle", {"circle": {"widht": 2}}, "circle.widht: unknown key (its value: 2); did you mean width?"),
        ("circle", {"circle": 3}, "prompts.circle: 3: should be a valid dictionary"),
    ],
)
def test_settings_that_do_not_fit_are_told(prompt, prompts, said):
    lines = problems_of({"canvas": CANVAS, "prompt": prompt, "prompts": prompts}, Prompting)
    assert any(said in line for line in lines), lines


def test_sizes_that_do_not_fit_are_refused_by_the_prompt_itself():
    with pytest.raises(ValueError, match=r"width \(9\) must not exceed half of canvas \(16\)"):
        made("circle", width=9)


def test_the_registry_is_free_of_torch():
    code = "import sys, vpstudy.prompts.visual.registry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT).returncode == 0


def test_cells_depend_on_every_prompt():
    """The registry looks modules up by name, which no import tells."""
    found = digests(paths.NOTEBOOKS / "30_transfer.ipynb", paths.ROOT)
    kinds = {kind.__module__.replace(".", "/") + ".py" for kind in PROMPTS.values()}
    assert kinds <= set(found)


class Cross(Added):
    """A prompt as a reader might add it: one file, and one line of the registry."""

    label = "cross prompt"
    width: Positive

    def mask(self, canvas: int) -> np.ndarray:
        mask = np.zeros((canvas, canvas), bool)
        mask[: self.width] = mask[:, : self.width] = True
        return mask


def test_one_line_of_the_registry_is_enough_for_a_new_prompt(monkeypatch):
    content = read(paths.SCALES / "default/params.yaml")
    for settings in (content["hidden_cost"]["settings"]["visual_prompting"], content["vpns"]["settings"]):
        settings |= {"prompt": "cross", "prompts": settings["prompts"] | {"cross": {"width": 2}}}
    content["across"]["axes"]["backbones"] = []  # it quantizes borders
    with pytest.raises(ParameterError, match="'cross': no such visual prompt"):
        validate(content, "params.yaml")
    monkeypatch.setitem(registry.PROMPTS, "cross", Cross)
    parameters = validate(content, "params.yaml")
    for study in ("hidden_cost", "vpns"):
        assert getattr(parameters, study).model_dump() == content[study]
    assert parameters.vpns.settings.make_prompt(seed=0).mask.sum() == 4 * parameters.vpns.settings.canvas - 4
    settings = parameters.hidden_cost.settings.visual_prompting.model_copy(update={"steps": 2, "evaluations": 1})
    data = TransferData("faces", 5, Runtime(torch.device("cpu"), "fp32", 1))
    outcome = visual_prompting(Backbone(ARCHITECTURES["cnn"], glyphs.class_names), data, 2, 0, settings)
    learned = outcome.artefact["prompt.theta"] != 0
    assert torch.equal(learned, torch.from_numpy(Cross(width=2).mask(32)).expand(3, -1, -1))


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
