"""CLIPs of open_clip from elsewhere: logits against open_clip's own, cells that use them, and what is refused."""

import copy
import hashlib
import json

import open_clip
import pytest
import torch
from ruamel.yaml import YAML
from safetensors import safe_open
from safetensors.torch import save

from studies import parameters as study
from studies import results
from studies.backbones import weights
from studies.backbones.weights import WeightsCell
from studies.qprompt.clip_source_cell import ClipSourceCell
from studies.qprompt.multimodal_cell import MultimodalCell
from studies.qprompt.prompt_cell import PromptCell
from vpstudy import paths
from vpstudy import settings as base
from vpstudy.models import libraries as outside
from vpstudy.models.clip import TextTower, tokenize
from vpstudy.models.open_clips import from_open_clip
from vpstudy.models.weights import OutsideWeights
from vpstudy.prompts.text import described
from vpstudy.settings import ParameterError
from vpstudy.training.prompt_learning import pretraining

CONTENT = base.read(paths.SCALES / "default/params.yaml")
FILE = {"location": "$CLIP_FILE", "sha256": "0" * 64}
TEXT = {"width": 40, "heads": 2, "layers": 3}
VIT = {"image_size": 32, "layers": 2, "width": 48, "head_width": 16, "patch_size": 8}
TIMM = {"image_size": 32, "timm_model_name": "test_resnet", "timm_pool": "avg"}
MODELS = {  # by alias: a name of open_clip, made small; the last has its text tower by itself
    "vit": ("ViT-B-32", {"embed_dim": 32, "vision_cfg": VIT, "text_cfg": TEXT}),
    "resnet": ("RN50", {"embed_dim": 32, "vision_cfg": VIT | {"layers": [1, 1, 1, 1], "width": 8}, "text_cfg": TEXT}),
    "custom": ("MobileCLIP-B", {"embed_dim": 24, "vision_cfg": TIMM, "text_cfg": TEXT | {"width": 64}}),
}
MODELS = {f"clip_{alias}": model for alias, model in MODELS.items()}
TEXTS = ["a photo of a cat", "three", "one two three four five six seven"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Stores a small model under its alias, and says so in the parameters of a temporary project."""
    torch.set_num_threads(1)
    for name in ("PARAMS", "MODELS", "RESULTS", "RAW"):
        monkeypatch.setattr(paths, name, tmp_path / getattr(paths, name).relative_to(paths.ROOT))
    monkeypatch.setattr(base.read, "__defaults__", (paths.PARAMS,))
    monkeypatch.setattr(results.path, "__defaults__", (paths.RESULTS,))
    monkeypatch.setenv("CLIP_FILE", str(tmp_path / "clip.safetensors"))

    def put(alias, **changes):
        name, arguments = MODELS[alias]
        torch.manual_seed(1)
        tensors = from_open_clip(name=name, **arguments).state_dict()
        content = save({key: value.contiguous() for key, value in tensors.items()})
        (tmp_path / "clip.safetensors").write_bytes(content)
        entry = {"model": f"open_clip/{name}", "arguments": arguments, "location": "$CLIP_FILE"}
        entry |= {"sha256": hashlib.sha256(content).hexdigest()} | changes
        few = {"shots": 1, "validation_per_class": 2, "epochs": 1, "evaluations": 1, "seeds": [0], "bits": [1]}
        clip = CONTENT["qprompt"]["clip"] | {"held_out": 100}
        small = {
            "weights": {alias: entry},
            "outside": [alias],
            "clips": [alias],
            "qprompt": CONTENT["qprompt"] | few | {"backbones": [alias], "cocoop_epochs": 1, "clip": clip},
            "multimodal": CONTENT["multimodal"]
            | {"seeds": [0], "bits": [1], "epochs": 1, "evaluations": 1, "batch": 8},
            "protocols": CONTENT["protocols"] | {"backbones": [alias]},
        }
        content = CONTENT | small
        YAML(typ="safe").dump(content, paths.PARAMS)
        return content

    return put


def architecture_of(alias):
    return pretraining.load(paths.MODELS / "default" / alias / "clip.safetensors")[1]


def made(alias):
    """The stages that make it, run; the CLIP as the cells of prompts load it."""
    cell = WeightsCell(study.load(paths.PARAMS), alias)
    path = cell.fetch()
    backbone, mask = cell.load(path)
    facts = cell.facts(path, backbone, mask)
    cell.save(backbone, facts)
    source = ClipSourceCell("default", alias)
    clip, losses = source.pretrain()
    assert losses == []
    rows = source.measure(clip)
    source.save(clip, rows)
    kept = paths.MODELS / "default" / alias / "clip.safetensors"
    return pretraining.load(kept)[0], rows, facts


@pytest.mark.parametrize("alias", MODELS)
def test_logits_are_those_of_open_clip(place, tmp_path, alias):
    study.validate(place(alias), "params.yaml")
    clip, rows, facts = made(alias)
    name, arguments = MODELS[alias]
    config = open_clip.get_model_config(name)
    config |= {key: config[key] | value if isinstance(value, dict) else value for key, value in arguments.items()}
    (tmp_path / f"small_{alias}.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / f"small_{alias}.json")
    own = open_clip.create_model(f"small_{alias}", pretrained=str(tmp_path / "clip.safetensors")).eval()
    pictures = torch.randint(256, (3, 3, 32, 32), dtype=torch.uint8)
    known = open_clip.get_pretrained_cfg(name, open_clip.list_pretrained_tags_by_model(name)[0])
    mean, std = (torch.tensor(known[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    tokens, tower = open_clip.get_tokenizer(name)(TEXTS), TextTower(clip)
    with torch.no_grad():
        images, texts = own.encode_image((pictures / 255 - mean) / std, True), own.encode_text(tokens, True)
        mine = torch.nn.functional.normalize(
            clip.visual(pretraining.normalised(pictures, architecture_of(alias))), dim=1
        )
        written = tower(tower.embed(tokenize(TEXTS)), tokenize(TEXTS))
    assert tower.width == arguments["text_cfg"]["width"]
    torch.testing.assert_close(mine, images, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(written, texts, atol=1e-5, rtol=1e-5)
    logits = clip.logit_scale.exp() * mine @ written.T, own.logit_scale.exp() * images @ texts.T
    torch.testing.assert_close(*logits, atol=1e-5, rtol=1e-5)
    assert [row["method"] for row in rows] == ["glyphs", "digits"]
    assert facts["parameters"] == sum(p.numel() for p in own.parameters()) and facts["classes"] == 0


def test_multiplications_of_the_image_tower_are_counted_with_attention(place):
    place("clip_vit")
    tokens, width, layers = 17, 48, 2  # 16 patches of 8 px and the token of the class
    layer = tokens * 12 * width**2 + 2 * tokens**2 * width  # four projections, an MLP four times as wide; attention
    assert made("clip_vit")[2]["macs"] == layers * layer + 16 * 8 * 8 * 3 * width + width * 32


def test_zero_shot_accuracy_is_that_of_a_loop(place):
    place("clip_vit")
    clip, (_, row), _ = made("clip_vit")
    source = ClipSourceCell("default", "clip_vit")
    from vpstudy.data import captions
    from vpstudy.data.target import load
    from vpstudy.training.prompt_learning import names

    target = load("digits", 32)
    tests = torch.as_tensor(target.test)
    texts = described(TextTower(clip), names.of_classes("digits", target.class_names), captions.TEMPLATES)
    with torch.no_grad():
        answers = [
            int((clip.visual(pretraining.normalised(target.pictures[[k]], source.architecture)) @ texts.T).argmax())
            for k in tests.tolist()[:50]
        ]
    right = [answer == int(target.labels[k]) for answer, k in zip(answers, tests.tolist()[:50], strict=True)]
    measured = source._probabilities(clip, target.pictures[tests[:50]], texts).argmax(1)
    assert measured.tolist() == answers and 0 <= row["metrics"]["accuracy"] <= 1
    assert sum(right) == sum(measured == target.labels[tests[:50]].numpy())


@pytest.mark.parametrize("alias", MODELS)
def test_prompts_are_learned_for_it(place, alias):
    place(alias)
    made(alias)
    cell = PromptCell("default", alias, "digits", "coop")
    arms = cell.run()
    record = cell.record(arms)
    assert [(row["arm"], row["group"]) for row in record["rows"]] == [
        (arm, group) for arm in ("full", "ptq-1") for group in ("base", "new")
    ]
    assert {row["status"] for row in record["rows"]} == {"ok"}
    assert record["rows"][0]["bytes"] == 2 * 4 * MODELS[alias][1]["text_cfg"]["width"]
    assert len(cell.nearest_words(arms[0].used)) == 4
    if alias == "clip_vit":
        cell = MultimodalCell("default", alias, "digits")
        rows = cell.record(cell.run())["rows"]
        assert rows and {row["status"] for row in rows} == {"ok"}


def test_what_it_takes_is_kept_beside_its_weights(place):
    place("clip_vit")
    kept = paths.MODELS / "default" / "clip_vit" / "clip.safetensors"
    made("clip_vit")
    first = kept.read_bytes()
    made("clip_vit")
    assert kept.read_bytes() == first
    place("clip_vit", std=[0.5, 0.5, 0.5])
    made("clip_vit")
    assert kept.read_bytes() != first  # so that prompts run again
    with safe_open(kept, "pt") as file:
        assert json.loads(file.metadata()["clip"])["architecture"]["std"] == [0.5, 0.5, 0.5]


def test_a_text_that_is_too_long_is_told():
    tower = TextTower(
        from_open_clip(name="ViT-B-32", **MODELS["clip_vit"][1] | {"text_cfg": TEXT | {"context_length": 6}})
    )
    short, long = tokenize(["a b c"]), tokenize(["a b c d e f"])
    assert tower(tower.embed(short), short).shape == (1, 32)
    with pytest.raises(ValueError, match="a text is 8 tokens long, and this text tower takes 6"):
        tower.embed(long)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ViT-B-3", "open_clip has no such model; `open_clip"),
        ("ViT-B-16-SigLIP", "another encoding of words than CLIP's own and sees both ways; allowed"),
        ("roberta-ViT-B-32", "is a model of the library transformers"),
        ("coca_ViT-B-32", "also writes captions"),
        ("ViT-L-14", "its weights differ in mean and std; give both"),
    ],
)
def test_models_that_prompts_cannot_enter_are_refused(name, said):
    with pytest.raises(ValueError, match=said):
        outside.architecture("c", OutsideWeights(model=f"open_clip/{name}", **FILE))


def test_files_that_do_not_fit_are_told(place, tmp_path, monkeypatch):
    content = place("clip_vit")
    entry = content["weights"]["clip_vit"]
    other = entry | {"arguments": entry["arguments"] | {"text_cfg": TEXT | {"width": 20}}}
    YAML(typ="safe").dump(content | {"weights": {"clip_vit": other}}, paths.PARAMS)
    with pytest.raises(ValueError, match=r"does not fit the backbone clip_vit: \d+ of another shape"):
        WeightsCell(study.load(paths.PARAMS), "clip_vit").load(tmp_path / "clip.safetensors")
    deeper = entry | {"arguments": entry["arguments"] | {"text_cfg": TEXT | {"layers": 4}}}
    YAML(typ="safe").dump(content | {"weights": {"clip_vit": deeper}}, paths.PARAMS)
    with pytest.raises(ValueError, match=r"12 missing \(transformer.resblocks.3"):
        WeightsCell(study.load(paths.PARAMS), "clip_vit").load(tmp_path / "clip.safetensors")
    with pytest.raises(ValueError, match="expected 0000"):
        weights.fetch(OutsideWeights(model="open_clip/ViT-B-32", **FILE))
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        weights.fetch(OutsideWeights(model="open_clip/ViT-B-32", **FILE | {"location": "gone.safetensors"}))
    with pytest.raises(ValueError, match=r"only .safetensors files are read"):
        weights.fetch(OutsideWeights(model="open_clip/ViT-B-32", **FILE | {"location": "ViT-B-32.pt"}))


def test_the_hub_is_asked_for_the_file_of_open_clip(monkeypatch):
    asked = []
    monkeypatch.setattr(weights, "hf_hub_download", lambda *of, **_: asked.append(of) or 1 / 0)
    entry = OutsideWeights(model="open_clip/ViT-B-32", location="hf://me/net", revision="a" * 40)
    with pytest.raises(ZeroDivisionError):
        weights.fetch(entry)
    assert asked == [("me/net", "open_clip_model.safetensors")]


def test_what_towers_do_not_allow_is_told_first(place):
    content = copy.deepcopy(place("clip_resnet"))
    content["multimodal"]["backbones"] = ["clip_resnet"]
    content["source"]["size"] = 64
    YAML(typ="safe").dump(content, paths.PARAMS)
    with pytest.raises(ParameterError) as error:
        WeightsCell(study.load(paths.PARAMS), "clip_resnet")
    first, second = str(error.value).splitlines()
    assert first.startswith("source.size: 64: 'clip_resnet' takes only 32 px")
    assert second.startswith("multimodal.backbones: 'clip_resnet' has no transformer for pictures")
    content = copy.deepcopy(place("clip_vit"))
    content["multimodal"] |= {"backbones": ["clip_vit"], "depth": 3}
    YAML(typ="safe").dump(content, paths.PARAMS)
    study.validate(content, "params.yaml")
    with pytest.raises(ParameterError, match=r"^multimodal.depth: 3: 'clip_vit' has 2 blocks .*; allowed: 1 to 2$"):
        WeightsCell(study.load(paths.PARAMS), "clip_vit")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"backbones": ["cnn", "c"], "compressions": ["dense"]}, "backbones: 'c' is a CLIP, which has no classes"),
        ({"clips": ["cnn", "t"]}, "clips: 't' is not in pretrained; allowed: cnn, c"),
        ({"qprompt": CONTENT["qprompt"] | {"backbones": ["cnn", "c"]}}, "qprompt.backbones: 'c' is not in clips"),
        (
            {"weights": {"c": {"model": "open_clip/RN50"}}},
            "weights.c: location: open_clip/RN50: give a safetensors file",
        ),
        (
            {"weights": {"c": {"model": "open_clip/RN50", "location": "published"}}},
            "weights.c: location: open_clip/RN50: give a safetensors file",
        ),
        ({"weights": {"c": {"model": "open_clip/R/N"} | FILE}}, "weights.c.model: 'open_clip/R/N'"),
    ],
)
def test_names_that_do_not_fit_are_told(changes, said):
    entries = {"c": {"model": "open_clip/RN50"} | FILE, "t": {"model": "timm/resnet18"} | FILE}
    with pytest.raises(ParameterError) as error:
        study.validate(CONTENT | {"weights": entries, "outside": ["c", "t"]} | changes, "params.yaml")
    assert sum(line.startswith(f"  - {said}") for line in str(error.value).splitlines()) == 1, str(error.value)
