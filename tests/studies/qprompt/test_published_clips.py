"""Published CLIPs of open_clip: logits against open_clip's own, cells that use them, and what is refused."""

import hashlib
import json

import open_clip
import pytest
import torch
from running import run
from safetensors.torch import save

from studies.backbones.weights import WeightsCell
from studies.qprompt.clip_source_cell import ClipSourceCell
from studies.qprompt.multimodal_cell import MultimodalCell
from studies.qprompt.prompt_cell import PromptCell
from vpstudy import paths
from vpstudy.data import captions
from vpstudy.data.target import load as load_target
from vpstudy.models import clip as clips
from vpstudy.models import files, libraries
from vpstudy.models.open_clips import create
from vpstudy.models.text_tower import TextTower, tokenize
from vpstudy.models.weights import OutsideWeights
from vpstudy.prompts.text import described
from vpstudy.settings import ParameterError
from vpstudy.training.prompt_learning import tasks

FILE = {"location": "$CLIP_FILE", "sha256": "0" * 64}
TEXT = {"width": 40, "heads": 2, "layers": 3}
VIT = {"image_size": 32, "layers": 2, "width": 48, "head_width": 16, "patch_size": 8}
TIMM = {"image_size": 32, "timm_model_name": "test_resnet", "timm_pool": "avg"}
MODELS = {  # by alias: a name of open_clip, made small; the last has its text tower by itself
    "clip_vit": ("ViT-B-32", {"embed_dim": 32, "vision_cfg": VIT, "text_cfg": TEXT, "quick_gelu": False}),
    "clip_resnet": (
        "RN50",
        {
            "embed_dim": 32,
            "vision_cfg": VIT | {"layers": [1, 1, 1, 1], "width": 8},
            "text_cfg": TEXT,
            "quick_gelu": True,
        },
    ),
    "clip_custom": ("MobileCLIP-B", {"embed_dim": 24, "vision_cfg": TIMM, "text_cfg": TEXT | {"width": 64}}),
}
TEXTS = ["a photo of a cat", "three", "one two three four five six seven"]


@pytest.fixture(scope="module")
def using(small, tmp_path_factory):
    """From an alias, changes of its entry and other changes to parameters with that published CLIP alone."""
    file = tmp_path_factory.mktemp("published") / "clip.safetensors"
    few = {"seeds": [0], "epochs": 1, "evaluations": 1, "bits": [1]}

    def parameters(alias, entry=None, **changes):
        name, arguments = MODELS[alias]
        torch.manual_seed(1)
        tensors = create(name, **arguments).state_dict()
        file.write_bytes(save({key: value.contiguous() for key, value in tensors.items()}))
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        mine = {"model": f"open_clip/{name}", "arguments": arguments, "location": "$CLIP_FILE", "sha256": sha256}
        own = {
            "weights": {alias: mine | (entry or {})},
            "outside": [alias],
            "clips": [alias],
            "qprompt": {"axes": {"backbones": [alias]}, "settings": few},
            "multimodal": {"axes": {"backbones": []}, "settings": few},
            "few_shot": {"axes": {"backbones": [alias]}},
            "other_pictures": {"axes": {"backbones": [alias]}},
        }
        return small(**own | changes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLIP_FILE", str(file))
        yield parameters


def ready(parameters, alias):
    """The stages that make it, run: what their cells say, and the CLIP as the cells of prompts load it."""
    cell = WeightsCell(parameters, alias)
    path = cell.fetch()
    backbone, mask = cell.load(path)
    facts = cell.facts(path, backbone, mask)
    cell.save(backbone, facts)
    source = ClipSourceCell(parameters, alias)
    clip, losses = source.pretrain()
    assert losses == []
    rows = source.measure(clip)
    source.files(clip)
    return *clips.load(paths.MODELS / "default" / alias / "clip/0.safetensors"), rows, facts


@pytest.fixture(scope="module", params=MODELS)
def made(using, request):
    parameters = using(request.param)
    return request.param, parameters, *ready(parameters, request.param)


def test_logits_are_those_of_open_clip(made, tmp_path):
    alias, parameters, clip, architecture, rows, facts = made
    name, arguments = MODELS[alias]
    config = open_clip.get_model_config(name)
    config |= {key: config[key] | value if isinstance(value, dict) else value for key, value in arguments.items()}
    (tmp_path / f"small_{alias}.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / f"small_{alias}.json")
    source = WeightsCell(parameters, alias).fetch()
    own = open_clip.create_model(f"small_{alias}", pretrained=str(source)).eval()
    pictures = torch.randint(256, (3, 3, 32, 32), dtype=torch.uint8)
    known = open_clip.get_pretrained_cfg(name, open_clip.list_pretrained_tags_by_model(name)[0])
    mean, std = (torch.tensor(known[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    tokens, tower = open_clip.get_tokenizer(name)(TEXTS), TextTower(clip)
    with torch.no_grad():
        images, texts = own.encode_image((pictures / 255 - mean) / std, True), own.encode_text(tokens, True)
        mine = torch.nn.functional.normalize(clip.visual(clips.normalised(pictures, architecture)), dim=1)
        written = tower(tower.embed(tokenize(TEXTS)), tokenize(TEXTS))
    assert tower.width == arguments["text_cfg"]["width"]
    torch.testing.assert_close(mine, images, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(written, texts, atol=1e-5, rtol=1e-5)
    logits = clip.logit_scale.exp() * mine @ written.T, own.logit_scale.exp() * images @ texts.T
    torch.testing.assert_close(*logits, atol=1e-5, rtol=1e-5)
    assert [row["method"] for row in rows] == ["digits"]  # it has no caption of a glyph
    assert facts["parameters"] == sum(p.numel() for p in own.parameters()) and facts["classes"] == 0
    if alias == "clip_vit":  # its multiplications are counted with attention
        n, width, layers = 17, 48, 2  # tokens: 16 patches of 8 px and that of the class
        layer = n * 12 * width**2 + 2 * n**2 * width  # four projections, an MLP four times as wide; attention
        assert facts["macs"] == layers * layer + 16 * 8 * 8 * 3 * width + width * 32


def test_zero_shot_probabilities_are_those_of_a_loop(made):
    alias, parameters, clip, architecture, *_ = made
    target = load_target("digits", 32)
    called, pictures = tasks.class_names(target), target.pictures[torch.as_tensor(target.test[:20])]
    texts = described(TextTower(clip), called, captions.OF_THINGS)
    with torch.no_grad():
        images = torch.cat([clip.visual(clips.normalised(one[None], architecture)) for one in pictures])
        expected = (clip.logit_scale.exp() * torch.nn.functional.normalize(images, dim=1) @ texts.T).softmax(1)
    cell = ClipSourceCell(parameters, alias)
    measured = cell.probabilities(clip, tasks.features(clip, architecture, pictures, cell.runtime), called)
    torch.testing.assert_close(torch.from_numpy(measured), expected, rtol=1e-3, atol=1e-5)


def test_prompts_are_learned_for_it(made):
    alias, parameters, *_ = made
    cell = PromptCell(parameters, alias, "digits", "coop")
    arms = run(cell)
    rows = cell.result(arms)["rows"]
    assert [(r["arm"], r["group"]) for r in rows] == [(a, g) for a in ("full", "ptq-1") for g in ("base", "new")]
    assert {row["status"] for row in rows} == {"ok"}
    assert rows[0]["bytes"] == 2 * 4 * MODELS[alias][1]["text_cfg"]["width"]
    assert len(cell.nearest_words(arms[0].used)) == 4
    if alias == "clip_vit":
        cell = MultimodalCell(parameters, alias, "digits")
        rows = cell.result(run(cell))["rows"]
        assert rows and {row["status"] for row in rows} == {"ok"}


def test_its_architecture_is_kept_with_its_weights(using):
    kept = paths.MODELS / "default" / "clip_vit" / "clip/0.safetensors"
    contents = []
    for entry in ({}, {}, {"std": [0.5, 0.5, 0.5]}):
        _, architecture, *_ = ready(using("clip_vit", entry), "clip_vit")
        contents.append(kept.read_bytes())
    assert contents[0] == contents[1] != contents[2]  # so that prompts run again
    assert architecture.std == (0.5, 0.5, 0.5)


def test_a_text_that_is_too_long_is_refused():
    short = MODELS["clip_vit"][1] | {"text_cfg": TEXT | {"context_length": 6}}
    tower = TextTower(create("ViT-B-32", **short))
    fits, long = tokenize(["a b c"]), tokenize(["a b c d e f"])
    assert tower(tower.embed(fits), fits).shape == (1, 32)
    with pytest.raises(ValueError, match="a text is 8 tokens long, and this text tower takes 6"):
        tower.embed(long)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ViT-B-3", "open_clip has no such model; `open_clip"),
        ("ViT-B-16-SigLIP", "another encoding of words than CLIP's own and sees both ways; allowed"),
        ("roberta-ViT-B-32", "is a model of the library transformers"),
        ("coca_ViT-B-32", "also writes captions"),
        (
            "ViT-L-14",
            "differ in mean and std and arguments.quick_gelu; give all, as these",
        ),
    ],
)
def test_models_that_prompts_cannot_enter_are_refused(name, said):
    with pytest.raises(ValueError, match=said):
        libraries.architecture("c", OutsideWeights(model=f"open_clip/{name}", **FILE))


def test_files_that_do_not_fit_are_refused(using, tmp_path):
    file = WeightsCell(using("clip_vit"), "clip_vit").fetch()
    for text, said in (
        (TEXT | {"width": 20}, r"does not fit the backbone clip_vit: \d+ of another shape"),
        (TEXT | {"layers": 4}, r"12 missing \(transformer.resblocks.3"),
    ):
        other = {"arguments": MODELS["clip_vit"][1] | {"text_cfg": text}}
        with pytest.raises(ValueError, match=said):
            WeightsCell(using("clip_vit", other), "clip_vit").load(file)
    for entry, error, said in (
        ({}, ValueError, "expected 0000"),
        ({"location": "gone.safetensors"}, FileNotFoundError, "there is no such file"),
        ({"location": "ViT-B-32.pt"}, ValueError, "only .safetensors files are read"),
    ):
        with pytest.raises(error, match=said):
            files.fetch_weights(OutsideWeights(model="open_clip/ViT-B-32", **FILE | entry), tmp_path, tmp_path)


def test_the_hub_is_asked_for_the_file_of_open_clip(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(files, "hf_hub_download", lambda *of, **_: asked.append(of) or 1 / 0)
    entry = OutsideWeights(model="open_clip/ViT-B-32", location="hf://me/net", revision="a" * 40)
    with pytest.raises(ZeroDivisionError):
        files.fetch_weights(entry, tmp_path, tmp_path)
    assert asked == [("me/net", "open_clip_model.safetensors")]


def test_prompts_that_towers_do_not_allow_are_refused_before_anything_is_fetched(using):
    both = {"multimodal": {"axes": {"backbones": ["clip_resnet"]}}, "source": {"size": 64}}
    with pytest.raises(ParameterError) as error:
        WeightsCell(using("clip_resnet", **both), "clip_resnet")
    first, second = str(error.value).splitlines()
    assert first.startswith("source.size: 64: 'clip_resnet' takes only 32 px")
    assert second.startswith("multimodal.axes.backbones: 'clip_resnet' has no transformer for pictures")
    deep = using("clip_vit", multimodal={"axes": {"backbones": ["clip_vit"]}, "settings": {"depth": 3}})
    with pytest.raises(ParameterError, match=r"settings.depth: 3: 'clip_vit' has 2 blocks .*; allowed: 1 to 2$"):
        WeightsCell(deep, "clip_vit")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"backbones": ["cnn", "c"], "compressions": ["dense"]}, "backbones: 'c' is a CLIP, which has no classes"),
        ({"clips": ["cnn", "vit", "u"]}, "clips: 'u' is not in pretrained or outside; allowed: cnn, vit, c, t"),
        (
            {"clips": ["cnn", "vit", "t"], "weights": {"t": {"model": "torchvision/resnet18"}}},
            "clips: 't' is torchvision/resnet18, and sentence encoders are joined to networks of timm alone",
        ),
        ({"qprompt": {"axes": {"backbones": ["cnn", "c"]}}}, "qprompt.axes.backbones: 'c' is not in clips"),
        ({"weights": {"c": {"location": None, "sha256": None}}}, "weights.c: location: open_clip/RN50: give a"),
        ({"weights": {"c": {"location": "published", "sha256": None}}}, "weights.c: location: open_clip/RN50: give a"),
        ({"weights": {"c": {"model": "open_clip/R/N"}}}, "weights.c.model: 'open_clip/R/N'"),
    ],
)
def test_names_that_do_not_fit_are_refused(small, changes, said):
    entries = {"c": {"model": "open_clip/RN50"} | FILE, "t": {"model": "timm/resnet18"} | FILE}
    entries = {name: entry | changes.get("weights", {}).get(name, {}) for name, entry in entries.items()}
    with pytest.raises(ParameterError) as error:
        small(**{"outside": ["c", "t"]} | changes | {"weights": entries})
    assert sum(line.startswith(f"  - {said}") for line in str(error.value).splitlines()) == 1, str(error.value)
