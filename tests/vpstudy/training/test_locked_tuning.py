"""Locked-image tuning: the network stays, its features are centred, and names are learned from its answers."""

from dataclasses import replace

import pytest
import torch
from encoders import encoder
from safetensors.torch import load_file

from vpstudy.data.class_names import Sense, senses
from vpstudy.models import clip as clips
from vpstudy.models.architectures import ARCHITECTURES
from vpstudy.models.backbones import Backbone
from vpstudy.models.sentence_tower import SentenceTower
from vpstudy.runtime import Runtime
from vpstudy.training.prompt_learning import locked_tuning
from vpstudy.training.prompt_learning.locked_tuning import Encoded
from vpstudy.training.prompt_learning.settings import LockedTuning

NAMES = ["dog", "cat", "zero", "one", "two", "three"]
HERE = Runtime(torch.device("cpu"), "fp32", 1)
SETTINGS = LockedTuning(
    location="encoder.safetensors", sha256="0" * 64, size=32, pictures="digits", measured_on=[], held_out=2,
    steps=40, names=4, pictures_per_step=8, learning_rate=0.03, seed=0,
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A function of the seed to the tuned model and its losses, with what it learned from."""
    folder = encoder(tmp_path_factory.mktemp("encoder"))
    backbone = Backbone(ARCHITECTURES["cnn"], NAMES, seed=1).frozen()
    draw = torch.Generator().manual_seed(2)
    pictures = torch.randint(256, (16, 3, 32, 32), generator=draw, dtype=torch.uint8)
    teacher = locked_tuning.teacher(backbone, locked_tuning.features(backbone, pictures, HERE))

    def tuned(seed: int, settings: LockedTuning = SETTINGS):
        clip = clips.locked(backbone, folder / "model.safetensors", 32, seed)
        return clip, locked_tuning.tune(clip, teacher, senses(NAMES), [0, 1, 2, 3], settings, seed, HERE)

    return tuned, teacher, backbone, pictures, folder


def test_the_image_tower_is_the_network_centred(made):
    tuned, teacher, backbone, pictures, _ = made
    clip, _ = tuned(0)
    with torch.no_grad():
        seen = clip.visual(clips.normalised(pictures, backbone.architecture))
        torch.testing.assert_close(teacher.logits, backbone(pictures / 255), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(seen, teacher.features - teacher.features.mean(0), atol=1e-5, rtol=1e-5)
    unit = torch.nn.functional.normalize(seen, dim=1)
    torch.testing.assert_close(locked_tuning.embedded(clip, teacher.features), unit, atol=1e-4, rtol=1e-4)
    assert not any(p.requires_grad for p in clip.parameters())


def test_names_come_to_lie_near_their_class_vectors(made):
    tuned, teacher, *_ = made
    clip, losses = tuned(0)
    assert len(losses) == 40 and losses[-1] < 0.7 * losses[0]
    tower = SentenceTower(clip.text)
    with torch.no_grad():
        texts = tower(tower.embed(tokens := tower.tokenize(NAMES[:4])), tokens)
    vectors = teacher.vectors - teacher.vectors.mean(0)
    assert (texts @ vectors[:4].T).argmax(1).tolist() == [0, 1, 2, 3]


def test_free_of_pictures_it_learns_from_class_vectors_alone(made):
    _, teacher, backbone, pictures, folder = made
    clip = clips.locked(backbone, folder / "model.safetensors", 32, seed=0)
    unknown = replace(teacher, features=teacher.features * torch.nan, logits=teacher.logits * torch.nan)
    settings = SETTINGS.model_copy(update={"pictures_per_step": 0})
    losses = locked_tuning.tune(clip, unknown, senses(NAMES), [0, 1, 2, 3], settings, 0, HERE)
    assert len(losses) == 40 and losses[-1] < 0.7 * losses[0]
    tower = SentenceTower(clip.text)
    with torch.no_grad():
        texts = tower(tower.embed(tokens := tower.tokenize(NAMES[:4])), tokens)
        seen = clip.visual(clips.normalised(pictures, backbone.architecture))
    vectors = teacher.vectors - teacher.vectors.mean(0)
    assert (texts @ vectors[:4].T).argmax(1).tolist() == [0, 1, 2, 3]
    torch.testing.assert_close(seen, teacher.features, atol=1e-5, rtol=1e-5)


def test_a_seed_gives_the_same_weights_again(made):
    one, other, third = (made[0](seed)[0].text.proj.weight for seed in (0, 0, 1))
    assert torch.equal(one, other) and not torch.equal(one, third)


def test_the_encoder_stays_and_captions_are_its_states(made):
    clip = made[0](0)[0]
    start = load_file(made[4] / "model.safetensors")
    for name, weights in clip.text.transformer.named_parameters():
        assert torch.equal(weights, start[name])
    tower = SentenceTower(clip.text)
    known = locked_tuning.encoded(tower, [Sense("dog", ("cat", "one"), "two three"), Sense("zero")])
    assert known.count.tolist() == [[5, 10, 1], [5, 5, 5]] and len(known.states) == 31
    tokens = tower.tokenize(["a photo of a one.", "two three", "zero"])
    at = [known.first[0, 1] + 7, known.first[0, 2], known.first[1, 2]]
    torch.testing.assert_close(known.states[torch.stack(at)], tower.pooled(tower.embed(tokens), tokens))


def test_a_kind_of_caption_is_drawn_then_one_of_its_captions():
    known = Encoded(torch.arange(7.0)[:, None], torch.tensor([[0, 1, 3]]), torch.tensor([[1, 2, 4]]))
    drawn = known.draw(torch.zeros(6000, dtype=torch.long), torch.Generator().manual_seed(0)).flatten().long()
    shares = torch.bincount(drawn, minlength=7) / 6000
    torch.testing.assert_close(shares, torch.tensor([4, 2, 2, 1, 1, 1, 1]) / 12, atol=0.03, rtol=0)


def test_classes_of_imagenet_have_what_wordnet_says_of_them():
    from torchvision.models import ResNet50_Weights

    of = senses(ResNet50_Weights.DEFAULT.meta["categories"])
    assert len(of) == 1000 and of[0].name == "tench" and "Tinca tinca" in of[0].synonyms
    assert of[0].gloss.startswith("freshwater dace-like game fish")
    assert all(sense.gloss and sense.synonyms for sense in of)
    assert senses(NAMES) == [Sense(name) for name in NAMES]
