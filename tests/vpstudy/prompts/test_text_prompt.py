"""Text towers and prompts: the same features as open_clip's own, gradients to the context alone, places of names."""

import pytest
import torch
from open_clip.model import CLIP, CustomTextCLIP

from vpstudy.models.architectures import ARCHITECTURES
from vpstudy.models.clip import small_clip
from vpstudy.models.text_tower import TextTower, tokenize
from vpstudy.prompts.text import MetaNetwork, TextPrompt, described, first_context

NAMES = ["a", "greek alpha", "three"]
VISION = {"timm_model_name": None, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16, "image_size": 32}
TEXT = {"width": 64, "heads": 2, "layers": 2}


@pytest.fixture(scope="module")
def clip():
    return (
        small_clip(ARCHITECTURES["cnn"], 32, seed=0, width=64, heads=2, layers=2, embed=32).eval().requires_grad_(False)
    )


@pytest.mark.parametrize("kind", [CLIP, CustomTextCLIP])
@pytest.mark.parametrize("width", [64, 96])
def test_features_are_those_of_open_clip(kind, width):
    torch.manual_seed(0)
    model = kind(32, VISION, TEXT | {"width": width}).eval()
    tower, tokens = TextTower(model), tokenize(["a photo of a cat", "three", "one two three four five six seven"])
    with torch.no_grad():
        expected = model.encode_text(tokens, normalize=True)
        torch.testing.assert_close(tower(tower.embed(tokens), tokens), expected, rtol=1e-4, atol=1e-5)
    assert tower.width == width


def test_image_towers_are_this_studys_own(clip):
    with torch.no_grad():
        assert clip.encode_image(torch.rand(2, 3, 32, 32)).shape == (2, 32)
        assert small_clip(ARCHITECTURES["vit"], 32, seed=0).eval().encode_image(torch.rand(2, 3, 32, 32)).shape == (
            2,
            64,
        )
    again = small_clip(ARCHITECTURES["cnn"], 32, seed=0, width=64, heads=2, layers=2, embed=32)
    assert all(torch.equal(a, b) for a, b in zip(clip.parameters(), again.parameters(), strict=True))


def test_a_prompt_of_words_is_the_text_itself(clip):
    tower = TextTower(clip)
    prompt = TextPrompt(tower, NAMES, first_context(tower, "a photo of a", seed=0))
    torch.testing.assert_close(prompt(), described(tower, NAMES, ["a photo of a {}."]), rtol=1e-4, atol=1e-5)


def test_a_name_in_the_middle_of_words_is_that_text(clip):
    tower = TextTower(clip)
    prompt = TextPrompt(tower, NAMES, first_context(tower, "a photo on paper", seed=0), middle=True)
    torch.testing.assert_close(prompt(), described(tower, NAMES, ["a photo {} on paper."]), rtol=1e-4, atol=1e-5)
    prompt()[1, 0].backward()
    assert (prompt.context.grad.abs().sum(1) > 0).all()


def test_a_context_of_each_class_against_a_loop(clip):
    tower = TextTower(clip)
    contexts = torch.stack([first_context(tower, 3, seed) for seed in range(len(NAMES))])
    for middle in (False, True):
        together = TextPrompt(tower, NAMES, contexts, middle)()
        for name, context, expected in zip(NAMES, contexts, together, strict=True):
            alone = TextPrompt(tower, [name], context, middle)()[0]
            torch.testing.assert_close(alone, expected, rtol=1e-4, atol=1e-5)


def test_only_the_context_learns(clip):
    tower = TextTower(clip)
    prompt = TextPrompt(tower, NAMES, first_context(tower, 3, seed=1))
    assert [name for name, _ in prompt.named_parameters()] == ["context"]
    features = prompt()
    torch.testing.assert_close(features.norm(dim=1), torch.ones(3))
    features[1, 0].backward()
    assert (prompt.context.grad.abs().sum(1) > 0).all()


def test_random_contexts_have_clips_deviation(clip):
    context = first_context(TextTower(clip), 16, seed=2)
    assert context.shape == (16, 64) and context.std().item() == pytest.approx(0.02, rel=0.1)
    assert torch.equal(context, first_context(TextTower(clip), 16, seed=2))


def test_a_shift_of_each_picture_against_a_loop(clip):
    tower = TextTower(clip)
    start = first_context(tower, 3, seed=3)
    shift = torch.randn(4, 64, generator=torch.Generator().manual_seed(0)) * 0.02
    features = TextPrompt(tower, NAMES, start)(shift)
    assert features.shape == (4, 3, 32)
    for one, expected in zip(shift, features, strict=True):
        torch.testing.assert_close(TextPrompt(tower, NAMES, start + one)(), expected, rtol=1e-4, atol=1e-5)
    network = MetaNetwork(32, 4, 64, seed=0)
    assert network(torch.rand(4, 32)).shape == (4, 64)
    assert MetaNetwork.count(32, 4, 64) == sum(p.numel() for p in network.parameters())


def test_templates_are_averaged(clip):
    tower = TextTower(clip)
    both = described(tower, NAMES, ["a {}.", "one {}"])
    each = [described(tower, NAMES, [template]) for template in ("a {}.", "one {}")]
    torch.testing.assert_close(both, torch.nn.functional.normalize(each[0] + each[1], dim=1))


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda t: TextPrompt(t, [], torch.zeros(4, 64)), "0 classes, 4 context vectors"),
        (lambda t: TextPrompt(t, NAMES, torch.zeros(0, 64)), "3 classes, 0 context vectors"),
        (lambda t: TextPrompt(t, NAMES, torch.zeros(80, 64)), "exceed 77 tokens"),
        (lambda t: described(t, NAMES, ["a picture"]), "has no place for the class name"),
        (lambda t: TextPrompt(t, ["a cat", "dog", "A  Cat"], torch.zeros(4, 64)), "'a cat' and 'A  Cat' are the same"),
        (lambda t: described(t, ["a cat", "dog", "A  Cat"], ["a {}."]), "'a cat' and 'A  Cat' are the same tokens"),
        (
            lambda t: described(t, ["word " * 90 + each for each in "ab"], ["a {}."]),
            "a' and 'word word .* b' are the same tokens in a text, as texts end at 77",
        ),
    ],
)
def test_bad_values_are_refused(clip, call, told):
    with pytest.raises(ValueError, match=told):
        call(TextTower(clip))
