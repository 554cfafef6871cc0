"""Locked-image tuning: the network stays, its features are centred, and names are learned from its answers."""

import pytest
import torch
from encoders import encoder

from vpstudy.models import clip as clips
from vpstudy.models.architectures import ARCHITECTURES
from vpstudy.models.backbones import Backbone
from vpstudy.models.sentence_tower import SentenceTower
from vpstudy.runtime import Runtime
from vpstudy.training.prompt_learning import locked_tuning, pretraining
from vpstudy.training.prompt_learning.settings import LockedTuning

NAMES = ["dog", "cat", "zero", "one", "two", "three"]
HERE = Runtime(torch.device("cpu"), "fp32", 1)
SETTINGS = LockedTuning(
    location="encoder.safetensors", sha256="0" * 64, size=32, pictures="digits", measured_on=[], held_out=2,
    steps=40, names=4, pictures_per_step=8, text_rate=0.001, map_rate=0.01, seed=0,
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
        clip = clips.two_towers(ARCHITECTURES["cnn"], folder, 32, seed)
        pretraining.start_from(clip, backbone)
        locked_tuning.start(clip, folder / "model.safetensors", teacher.mean)
        return clip, locked_tuning.tune(clip, teacher, NAMES, [0, 1, 2, 3], settings, seed, HERE)

    return tuned, teacher, backbone, pictures


def test_the_image_tower_is_the_network_centred(made):
    tuned, teacher, backbone, pictures = made
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


def test_a_seed_gives_the_same_weights_again(made):
    one, other, third = (made[0](seed)[0].text.proj.weight for seed in (0, 0, 1))
    assert torch.equal(one, other) and not torch.equal(one, third)


def test_at_rate_0_only_the_map_learns_as_if_texts_passed_the_encoder_each_time(made):
    still = SETTINGS.model_copy(update={"text_rate": 0.0})
    (clip, losses), (other, slow) = made[0](0, still), made[0](0, still.model_copy(update={"text_rate": 1e-30}))
    before = made[0](0, still.model_copy(update={"steps": 1, "map_rate": 1e-9}))[0]
    for name, weights in clip.text.transformer.named_parameters():
        assert torch.equal(weights, before.text.transformer.get_parameter(name))
    assert losses == pytest.approx(slow, rel=1e-3) and losses[-1] < 0.9 * losses[0]
    torch.testing.assert_close(clip.text.proj.weight, other.text.proj.weight, atol=1e-3, rtol=1e-2)
