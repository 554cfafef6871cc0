"""Multi-modal prompts: unprompted towers as oracle, where prompts stand, what learns, sizes, quantized forms."""

import pytest
import timm
import torch
import torch.nn.functional as F
from open_clip.model import CLIP, CustomTextCLIP

from vpstudy.models.architectures import ARCHITECTURES
from vpstudy.models.clip import small_clip
from vpstudy.models.image_tower import ImageTower
from vpstudy.models.text_tower import TextTower, tokenize
from vpstudy.prompts.multimodal import MultimodalPrompt, first_weights, quantize, stored_bytes
from vpstudy.prompts.quantized import Settings
from vpstudy.prompts.text import described
from vpstudy.training.prompt_learning.multimodal import learn_multimodal, measure
from vpstudy.training.prompt_learning.settings import MultimodalLearning
from vpstudy.training.prompt_learning.tasks import Task

NAMES = ["a", "greek alpha", "three"]
VISION = {"layers": 3, "width": 32, "head_width": 16, "patch_size": 8, "image_size": 32}
TEXT = {"width": 64, "heads": 2, "layers": 3}
PICTURES = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def tiny(kind: str):
    """A CLIP of random weights with a transformer for pictures, three blocks deep, or two for "timm"."""
    torch.manual_seed(0)
    if kind == "timm":
        return small_clip(ARCHITECTURES["vit"], 32, seed=0, width=64, heads=2, layers=3, embed=32).eval()
    if kind == "timm class token":
        vision = {"timm_model_name": "vit_tiny_patch16_224", "timm_pool": "token", "timm_proj": "linear"}
        clip = CLIP(32, vision, TEXT)
        small = {"img_size": 32, "depth": 3, "num_classes": 0, "pre_norm": True, "reg_tokens": 2}
        clip.visual.trunk = timm.create_model("vit_tiny_patch16_224", **small)
        return clip.eval()
    if kind == "average":
        return CLIP(32, VISION | {"pool_type": "avg"}, TEXT).eval()
    return (CustomTextCLIP if kind == "custom" else CLIP)(32, VISION, TEXT).eval()


def started(clip, depth: int, context: str | int = 2, seed: int = 0) -> MultimodalPrompt:
    return MultimodalPrompt(clip, NAMES, first_weights(clip, context, depth, seed))


KINDS = ["own", "custom", "average", "timm", "timm class token"]


@pytest.fixture(scope="module", params=KINDS)
def clip(request):
    return tiny(request.param).requires_grad_(False)


@pytest.fixture(scope="module")
def own():
    return tiny("own").requires_grad_(False)


def test_without_prompts_the_image_tower_is_open_clips(clip):
    with torch.no_grad():
        expected = F.normalize(clip.visual(PICTURES), dim=1)
        torch.testing.assert_close(ImageTower(clip)(PICTURES), expected)


def test_the_text_at_depth_one_is_the_words_themselves(clip):
    prompt = started(clip, 1, "a photo")
    with torch.no_grad():
        torch.testing.assert_close(prompt.text(), described(TextTower(clip), NAMES, ["a photo {}."]))


def test_deep_text_prompts_that_repeat_the_states_change_nothing(clip):
    """Each block's own states, recorded by a hook, put in their own place."""
    tower, tokens = TextTower(clip), tokenize(["a photo three."])
    inner = clip.text if hasattr(clip, "text") else clip
    seen = []
    hooks = [b.register_forward_pre_hook(lambda _, a: seen.append(a[0])) for b in inner.transformer.resblocks]
    with torch.no_grad():
        expected = tower(tower.embed(tokens), tokens)
        for hook in hooks:
            hook.remove()
        found = tower(tower.embed(tokens), tokens, [states[0, 1:3] for states in seen[1:]])
    torch.testing.assert_close(found, expected)


def test_deep_text_prompts_replace_the_places_of_the_context_alone(own):
    prompt = started(own, 3, seed=1)
    entered, left = [], []  # what enters a block, against what left the one before
    blocks = own.transformer.resblocks
    hooks = [b.register_forward_pre_hook(lambda _, a: entered.append(a[0].clone())) for b in blocks]
    hooks += [b.register_forward_hook(lambda _, a, out: left.append(out.clone())) for b in blocks]
    with torch.no_grad():
        prompt.text()
    for hook in hooks:
        hook.remove()
    for k in (1, 2):
        assert torch.equal(entered[k][:, 1:3], prompt.weights.deep[k - 1].detach().expand(3, -1, -1))
        assert torch.equal(entered[k][:, :1], left[k - 1][:, :1]) and torch.equal(entered[k][:, 3:], left[k - 1][:, 3:])


def test_image_prompts_are_appended_replaced_and_dropped(own):
    """Against the tower written out: class token first, prompts last, normalised with the tokens at the input."""
    prompt, visual = started(own, 2, seed=2), own.visual
    with torch.no_grad():
        of_image = [
            torch.stack([projection @ vector for vector in of_text])
            for projection, of_text in zip(
                prompt.weights.projections, [prompt.weights.context, *prompt.weights.deep], strict=True
            )
        ]
        patches = visual.conv1(PICTURES).flatten(2).transpose(1, 2)
        states = torch.cat([visual.class_embedding.expand(5, 1, -1), patches], 1) + visual.positional_embedding
        states = visual.ln_pre(torch.cat([states, of_image[0].expand(5, -1, -1)], 1))
        first, second, third = visual.transformer.resblocks
        states = first(states)
        states[:, -2:] = of_image[1]
        states = third(second(states))  # behind the depth the prompt stays as the block made it
        expected = F.normalize(visual.ln_post(states[:, 0]) @ visual.proj, dim=1)
        torch.testing.assert_close(prompt.image(PICTURES), expected, rtol=1e-4, atol=1e-6)


def test_an_average_leaves_the_prompts_out():
    """Where no block passes anything between tokens, prompts cannot change the picture's features."""
    clip = tiny("average")
    with torch.no_grad():
        for block in clip.visual.transformer.resblocks:
            block.attn.out_proj.weight.zero_()
            block.attn.out_proj.bias.zero_()
        prompt = started(clip, 3)
        torch.testing.assert_close(prompt.image(PICTURES), ImageTower(clip)(PICTURES))


def test_every_weight_learns_and_nothing_else(clip):
    before = {k: v.clone() for k, v in clip.state_dict().items()}
    prompt = started(clip, 2, "a photo")
    names = [name for name, _ in prompt.named_parameters()]
    assert names == ["weights.context", "weights.deep", "weights.projections"]
    texts, images = prompt.text(), prompt.image(PICTURES)
    assert texts.shape == (3, 32)
    assert images.shape == (5, 32)
    torch.testing.assert_close(images.norm(dim=1), torch.ones(5))
    F.cross_entropy(100 * images @ texts.T, torch.tensor([0, 1, 2, 0, 1])).backward()
    for parameter in prompt.parameters():
        assert (parameter.grad.flatten(1).abs().sum(1) > 0).all()
    assert all(torch.equal(before[k], v) for k, v in clip.state_dict().items())


def test_other_classes_share_the_weights(own):
    prompt = started(own, 3, "a photo", seed=4)
    other = prompt.for_classes(["three", "b"])
    assert other.weights is prompt.weights
    with torch.no_grad():
        prompt.weights.deep.add_(0.1)
        torch.testing.assert_close(other.text()[0], prompt.text()[2])
        assert torch.equal(other.image(PICTURES), prompt.image(PICTURES))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_cuda_device_as_on_the_cpu():
    found = []
    for device in ("cpu", "cuda"):
        clip = tiny("timm").to(device)
        prompt = started(clip, 2, seed=9)
        quantize(prompt, Settings(4))
        with torch.no_grad():
            found.append((prompt.image(PICTURES.to(device)) @ prompt.for_classes(["b", "c"]).text().T).cpu())
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-3)


def test_sizes_of_the_paper():
    assert stored_bytes(2, 9, 512, 768, 16) == 7_096_320
    assert round(stored_bytes(2, 9, 512, 768, 4) / 1000) == 1774
    assert stored_bytes(2, 9, 512, 768, 4) == 3_548_160 // 2 + 3 * 16 * 2


@pytest.mark.parametrize(("kind", "width", "layers"), [("own", 32, 3), ("timm", 96, 2), ("timm class token", 192, 3)])
def test_widths_and_counts(kind, width, layers):
    clip = tiny(kind)
    prompt = started(clip, 2)
    assert (prompt.image_tower.width, prompt.image_tower.layers, prompt.tower.layers) == (width, layers, 3)
    assert sum(p.numel() for p in prompt.parameters()) == 2 * 2 * 64 + 2 * 64 * width
    assert stored_bytes(2, 2, 64, width, 16) == 2 * (2 * 2 * 64 + 2 * 64 * width)


@pytest.mark.parametrize("bits", [1, 3])
@pytest.mark.parametrize("depth", [1, 3])
def test_codebooks_are_stored_in_the_bytes_that_are_claimed(own, bits, depth):
    prompt = started(own, depth, seed=7)
    full = {kind: getattr(prompt.weights, kind).detach().clone() for kind in ("context", "deep", "projections")}
    quantized = quantize(prompt, Settings(bits))
    assert set(quantized.quantizers) == {kind for kind, values in full.items() if values.numel()}
    for kind, part in quantized.packed().items():
        found = getattr(prompt.weights, kind).detach()
        assert torch.equal(quantized.plain(kind), full[kind])
        assert 1 < len(found.unique()) <= 2**bits
        assert ((found - full[kind]) ** 2).mean() < full[kind].var(correction=0)  # k-means errs less than the mean
        torch.testing.assert_close(part.unpacked(), found, rtol=1e-3, atol=1e-5)
    size = sum(part.bytes for part in quantized.packed().values())
    assert size == stored_bytes(2, depth, 64, 32, bits)
    assert 2 * sum(values.numel() for values in full.values()) == stored_bytes(2, depth, 64, 32, 16)


def test_quantization_is_shared_straight_through_and_follows_steps(own):
    prompt = started(own, 3)
    quantized = quantize(prompt, Settings(2, refit="always"))
    assert len(prompt.for_classes(["b"]).weights.context.unique()) <= 4
    prompt.image(PICTURES)[:, 0].sum().backward()
    assert all(p.grad.any() for p in prompt.parameters())
    for _ in range(3):
        quantized.step()
    assert all(by.refits == [0, 1, 2, 3] for by in quantized.quantizers.values())


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda c: started(c, 0), "depth is 0; the text tower has 3 blocks .* give 1 to 3"),
        (lambda c: started(c, 4), "depth is 4; .* the image tower 3: give 1 to 3"),
        (lambda c: started(c, 2).for_classes([]), "0 classes, 2 context vectors"),
        (lambda c: started(c, 2, 80), "exceed 77 tokens"),
        (
            lambda c: started(small_clip(ARCHITECTURES["cnn"], 32, 0), 1),
            "transformer image tower; .* ResNet; use",
        ),
        (lambda c: [quantize(p, Settings(1)) for p in [started(c, 2)] * 2], "quantized already"),
    ],
)
def test_bad_values_are_refused(own, call, told):
    with pytest.raises(ValueError, match=told):
        call(own)


def pictures_task(clip) -> Task:
    """Two base classes that differ in brightness, and two new ones."""
    draw = torch.Generator().manual_seed(8)

    def part(n):
        labels = torch.arange(n) % 2
        pictures = torch.randint(0, 100, (n, 3, 32, 32), generator=draw) + 150 * labels[:, None, None, None]
        return pictures.to(torch.uint8), labels

    test = {"base": part(12), "new": part(6)}
    return Task(["dark", "bright"], ["a", "b"], part(16), part(10), test, {}, clip.logit_scale.exp().item())


def scaled(pictures):
    return pictures.float() / 127.5 - 1


SHORT = MultimodalLearning(
    seeds=[0],
    context="a photo",
    depth=3,
    epochs=12,
    batch=8,
    learning_rate=0.02,
    weight_decay=5e-4,
    evaluations=3,
    bits=[4],
)


@pytest.mark.parametrize("bits", [None, Settings(4, interval=2)])
def test_learning_separates_the_base_classes(own, bits):
    before = {k: v.clone() for k, v in own.state_dict().items()}
    task = pictures_task(own)
    learned = learn_multimodal(own, task, scaled, SHORT, seed=0, bits=bits)
    assert learned.losses[-1] < learned.losses[0]
    assert [entry["epoch"] for entry in learned.curve] == [4, 8, 12]
    assert learned.curve[-1]["base"] > 0.9
    assert {part: tuple(v.shape) for part, v in learned.logits.items()} == {
        "validation": (10, 2),
        "base": (12, 2),
        "new": (6, 2),
    }
    again = learn_multimodal(own, task, scaled, SHORT, seed=0, bits=bits)
    assert torch.equal(learned.logits["new"], again.logits["new"])
    for part, logits in measure(learned.prompt, task, scaled, batch=5).items():
        torch.testing.assert_close(logits, learned.logits[part], rtol=1e-4, atol=1e-4)
    assert all(torch.equal(before[k], v) for k, v in own.state_dict().items())
    assert not any(p.requires_grad for p in learned.prompt.parameters())
    if bits:
        assert len(learned.prompt.weights.projections.unique()) <= 16
        assert learned.quantized.quantizers["projections"].divergences


def test_one_step_against_autograd(own):
    """A single step of one batch in the first epoch: rate 1e-5 / 3.5e-3 of the rate, decay, no momentum yet."""
    task = pictures_task(own)
    settings = SHORT.model_copy(
        update={"epochs": 1, "batch": 16, "evaluations": 1, "learning_rate": 3500.0, "weight_decay": 0.1}
    )
    learned = learn_multimodal(own, task, scaled, settings, seed=3)
    start = learn_multimodal(own, task, scaled, settings.model_copy(update={"learning_rate": 1e-30}), seed=3).prompt
    start.requires_grad_(True)
    logits = task.scale * start.image(scaled(task.train[0])) @ start.text().T
    gradients = torch.autograd.grad(F.cross_entropy(logits, task.train[1]), list(start.parameters()))
    for new, old, gradient in zip(learned.prompt.parameters(), start.parameters(), gradients, strict=True):
        torch.testing.assert_close(new, (old - 10.0 * (gradient + 0.1 * old)).detach(), rtol=1e-3, atol=1e-4)
