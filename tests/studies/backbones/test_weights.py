"""Backbones from elsewhere: what is refused, and the stage that fetches, checks and measures them."""

import copy
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from ruamel.yaml import YAML
from safetensors.torch import load_file, save
from timm.data import ImageNetInfo

from studies import parameters as study
from studies import results
from studies.backbones import weights
from studies.backbones.weights import WeightsCell
from studies.backbones.weights_checks import misfits
from vpstudy import paths
from vpstudy import settings as base
from vpstudy.models import backbones, libraries
from vpstudy.models.architectures import ARCHITECTURES
from vpstudy.models.weights import OutsideWeights
from vpstudy.settings import ParameterError

CONTENT = base.read(paths.SCALES / "default/params.yaml")
ENTRY = {"model": "torchvision/squeezenet1_1", "location": "$SQUEEZENET", "sha256": "0" * 64}
SWIN = {"model": "timm/swin_tiny_patch4_window7_224", "revision": "a" * 40}
ASSETS = Path(os.environ.get("VPSTUDY_ASSETS", paths.ROOT.parent / "shared" / "assets")) / "weights"


def changed(**changes):
    content = copy.deepcopy(CONTENT)
    for dotted, value in changes.items():
        *sections, key = dotted.split("__")
        section = content
        for name in sections:
            section = section[name]
        section[key] = value
    return content


def problems(**changes):
    with pytest.raises(ParameterError) as error:
        study.validate(changed(**changes), "params.yaml")
    return str(error.value).splitlines()[1:]


KNOWN = {"weights": {"squeeze": ENTRY}, "outside": ["squeeze"]}
NO_ROUNDS = {"compressions": ["dense", "int4"], "hidden_cost__control_compressions": ["dense"]}
NO_ROUNDS |= {"across__compressions": ["dense"]}


def test_backbones_from_elsewhere_stand_beside_pretrained_ones():
    parameters = study.validate(changed(**KNOWN, **NO_ROUNDS, backbones=["cnn", "squeeze"]), "params.yaml")
    assert parameters.weights.root["squeeze"].name == "squeezenet1_1"
    alone = {"pretrained": [], "clips": [], "qprompt__backbones": [], "protocols__backbones": []}
    said = problems(**KNOWN, **NO_ROUNDS, **alone, backbones=["squeeze"], vpns__backbones=["squeeze"])
    assert not [line for line in said if not any(part in line for part in ("qprompt", "protocols", "across"))], said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"outside": ["squeeze"]}, "outside: 'squeeze' is not in weights; allowed: none, weights is empty"),
        ({"weights": {"cnn": ENTRY}}, "weights.cnn.[key]: 'cnn': a backbone of this study has that name"),
        ({"weights": {"Net-r1": ENTRY}}, "weights.Net-r1.[key]: 'Net-r1': an alias stands in names and paths; allowed"),
        (KNOWN | {"pretrained": ["cnn", "squeeze"]}, "pretrained: 'squeeze' is in weights, so it is fetched"),
        (
            KNOWN | {"backbones": ["cnn", "squeeze"], "outside": []},
            "backbones: 'squeeze' is not in pretrained or",
        ),
        (KNOWN | {"backbones": ["cnn", "squeeze"]}, "compressions: 'imp-0.80': 'squeeze' of backbones is in outside"),
        (KNOWN | {"qprompt__backbones": ["cnn", "squeeze"]}, "qprompt.backbones: 'squeeze' is not in clips"),
        ({"pretrained": []}, "pretrained: []: give at least 1, or backbones from elsewhere in outside"),
    ],
)
def test_names_that_do_not_fit_are_one_problem(changes, said):
    lines = [line.removeprefix("  - ") for line in problems(**changes)]
    assert [line.startswith(said) for line in lines].count(True) == 1, lines
    others = [line for line in lines if not line.startswith(said)]
    assert not others or changes == {"pretrained": []}, others  # each study says that it has nothing to use, too


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"model": "keras/vgg"}, "weights.x.model: 'keras/vgg'"),
        ({"model": "torchvision/vgg11"}, "weights.x: location is missing: torchvision/vgg11 has no safetensors file"),
        ({"model": "timm/resnet18"}, "weights.x: revision is missing"),
        ({"model": "timm/resnet18", "location": "hf://timm/resnet18.a1_in1k"}, "weights.x: revision is missing"),
        ({"model": "timm/resnet18", "location": "hf://timm", "revision": "a" * 40}, "weights.x: location: 'hf://timm'"),
        ({"model": "timm/resnet18", "location": "net.safetensors"}, "weights.x: sha256 of net.safetensors is missing"),
        (ENTRY | {"revision": "a" * 40}, "weights.x: revision: only files on the hub"),
        (ENTRY | {"sha256": "abc"}, "weights.x.sha256: 'abc'"),
        (ENTRY | {"mean": [0.5]}, "weights.x.mean: [0.5]"),
        (ENTRY | {"sha265": "0" * 64}, "weights.x: 'sha265' is an unknown key; allowed: model, location, sha256"),
    ],
)
def test_entries_that_are_not_pinned_are_refused(entry, said):
    (line,) = problems(weights={"x": entry})
    assert line.removeprefix("  - ").startswith(said), line


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Parameters of these weights in a temporary project."""
    for name in ("PARAMS", "MODELS", "RESULTS", "RAW"):
        monkeypatch.setattr(paths, name, tmp_path / getattr(paths, name).relative_to(paths.ROOT))
    monkeypatch.setattr(base.read, "__defaults__", (paths.PARAMS,))
    monkeypatch.setattr(results.path, "__defaults__", (paths.RESULTS,))

    def put(**entries):
        YAML(typ="safe").dump(CONTENT | {"weights": entries, "outside": list(entries)}, paths.PARAMS)
        return tmp_path

    return put


def stored(tmp_path, monkeypatch, model):
    """`model` as a file that an environment variable names, and the entry for it."""
    content = save({key: value.contiguous() for key, value in model.state_dict().items()})
    path = tmp_path / "net.safetensors"
    path.write_bytes(content)
    monkeypatch.setenv("SQUEEZENET", str(path))
    return path, ENTRY | {"sha256": hashlib.sha256(content).hexdigest()}


def test_the_stage_keeps_weights_names_and_facts(place, tmp_path, monkeypatch):
    model = torchvision.models.squeezenet1_1()
    with torch.no_grad():
        model.features[0].weight.flatten()[:864] = 0  # half of the first layer
    path, entry = stored(tmp_path, monkeypatch, model)
    place(squeeze=entry)
    cell = WeightsCell(study.load(paths.PARAMS), "squeeze")
    assert cell.fetch() == path
    backbone, mask = cell.load(path)
    facts = cell.facts(path, backbone, mask)
    assert facts["location"] == "$SQUEEZENET" and facts["sha256"] == entry["sha256"] and facts["revision"] is None
    assert (
        facts["zero_weights"] == pytest.approx(864 / facts["prunable"]) and facts["layers"]["features.0.weight"] == 0.5
    )
    assert facts["parameters"] == sum(p.numel() for p in model.parameters()) == 1235496
    assert facts["macs"] == pytest.approx(349e6, rel=0.01)  # 0.35 G, as torchvision documents
    cell.save(backbone, facts)
    folder = paths.MODELS / "default" / "squeeze"
    assert [each.name for each in (folder / "imp").iterdir()] == ["README.txt"]
    assert str(tmp_path) not in results.path(cell.cell).read_text()
    loaded = backbones.load(folder / "source.safetensors")
    assert loaded.class_names == backbone.class_names
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in loaded.model.state_dict().items())
    first = (folder / "source.safetensors").read_bytes()
    cell.save(backbone, facts)
    assert (folder / "source.safetensors").read_bytes() == first
    place(squeeze=entry | {"std": [0.5, 0.5, 0.5]})
    WeightsCell(study.load(paths.PARAMS), "squeeze").save(backbone, facts)
    assert (folder / "source.safetensors").read_bytes() != first  # so that what depends on it runs again


def test_files_that_do_not_fit_are_told(place, tmp_path, monkeypatch):
    path, entry = stored(tmp_path, monkeypatch, torchvision.models.squeezenet1_1(num_classes=7))
    (tmp_path / "names.txt").write_text("a\nb\nc\n")
    place(squeeze=entry, three=entry | {"classes": str(tmp_path / "names.txt")})
    with pytest.raises(ValueError, match=r"its head \(classifier.1.weight\) has 7 outputs, and there are 1000 names"):
        WeightsCell(study.load(paths.PARAMS), "squeeze").load(path)
    with pytest.raises(ValueError, match="has 7 outputs, and there are 3 names"):
        WeightsCell(study.load(paths.PARAMS), "three").load(path)
    with pytest.raises(ValueError, match="expected 0000"):
        weights.fetch(OutsideWeights.model_validate(ENTRY))
    monkeypatch.delenv("SQUEEZENET")
    with pytest.raises(FileNotFoundError, match=r"\$SQUEEZENET: there is no environment variable"):
        weights.fetch(OutsideWeights.model_validate(ENTRY))


def test_the_hub_is_asked_for_the_pinned_commit(place, tmp_path, monkeypatch):
    place()
    asked = []
    (tmp_path / "model.safetensors").write_bytes(b"")

    def download(repository, file, *, revision, cache_dir):
        asked.append((repository, file, revision))
        assert Path(cache_dir).is_relative_to(tmp_path)
        return str(tmp_path / "model.safetensors")

    monkeypatch.setattr(weights, "hf_hub_download", download)
    for location in (None, "hf://me/net", "hf://me/net/deep/w.safetensors"):
        entry = SWIN | ({"location": location} if location else {})
        weights.fetch(OutsideWeights.model_validate(entry))
    assert asked == [
        ("timm/swin_tiny_patch4_window7_224.ms_in1k", "model.safetensors", "a" * 40),
        ("me/net", "model.safetensors", "a" * 40),
        ("me/net", "deep/w.safetensors", "a" * 40),
    ]
    monkeypatch.setattr(weights, "hf_hub_download", lambda *_, **__: (_ for _ in ()).throw(OSError("no network")))
    with pytest.raises(FileNotFoundError, match=r"could not be downloaded \(no network\); get it by hand"):
        weights.fetch(OutsideWeights.model_validate(SWIN))


def test_what_a_network_cannot_do_is_told_first():
    content = changed(outside=["swin"], weights={"swin": SWIN}, backbones=["cnn", "swin"])
    swin = libraries.architecture("swin", OutsideWeights.model_validate(SWIN))
    lines = list(misfits(study.validate(content, "params.yaml"), swin, 224))
    assert [line.split(":")[0] for line in lines] == [
        f"hidden_cost.settings.{key}" for key in ("visual_prompting.canvas", "linear_probe.size", "fine_tuning.size")
    ]
    assert lines[0].startswith("hidden_cost.settings.visual_prompting.canvas: 32: 'swin' takes only 224 px; give that")
    assert not list(misfits(study.validate(content, "params.yaml"), swin, 32))
    assert not list(misfits(study.validate(content, "params.yaml"), ARCHITECTURES["cnn"], 224))
    content["vpns"]["axes"] |= {"backbones": ["swin"], "pruners": ["dense", "slimming"]}
    (line,) = misfits(study.validate(content, "params.yaml"), swin, 32)
    assert line.startswith("vpns.axes.pruners: 'slimming' prunes channels by their BatchNorm factors, and 'swin' has")


def test_parameters_are_checked_without_the_libraries():
    code = (
        "import sys; from studies import parameters as study; from vpstudy import paths, settings as base\n"
        f"content = base.read(paths.SCALES / 'default/params.yaml')\n"
        f"content |= {{'weights': {{'swin': {SWIN}}}, 'outside': ['swin']}}\n"
        "content['vpns']['backbones'] = ['swin']; study.validate(content, 'params.yaml')\n"
        "print({'torch', 'timm', 'torchvision'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


def test_names_of_imagenet_are_unique_first_synonyms_in_the_order_of_timm():
    names, info = weights.class_names(OutsideWeights.model_validate(ENTRY)), ImageNetInfo()
    first = [info.index_to_description(index).split(",")[0] for index in range(1000)]
    assert len(set(names)) == 1000
    differing = {name: mine for name, mine in zip(first, names, strict=True) if name != mine}
    assert differing == {"crane": "crane bird", "maillot": "maillot tank suit"}  # two classes each have these names


REAL = {
    "mobilenetv2_100.imagenet1k": (
        {"model": "timm/mobilenetv2_100", "arguments": {"pad_type": "same"}, "mean": [0.5] * 3, "std": [0.5] * 3},
        lambda: timm.create_model("mobilenetv2_100", pad_type="same"),
        0.011,  # rounded to 8 bits
    ),
    "squeezenet1_1.imagenet1k": ({"model": "torchvision/squeezenet1_1"}, torchvision.models.squeezenet1_1, 0.0),
    "squeezenet1_0.imagenet1k.deep-compression": (
        {"model": "torchvision/squeezenet1_0"},
        torchvision.models.squeezenet1_0,
        0.6637,  # 66.6 % of all weights without biases, 57.2 % of those that are prunable: the classifier has most
    ),
}


@pytest.mark.parametrize("name", REAL)
def test_real_checkpoints(place, name):
    path = ASSETS / f"{name}.safetensors"
    if not path.exists():
        pytest.skip(f"{path.name} is not in $VPSTUDY_ASSETS/weights")
    entry, build, sparsity = REAL[name]
    place(net=entry | {"location": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()})
    cell = WeightsCell(study.load(paths.PARAMS), "net")
    backbone, mask = cell.load(cell.fetch())
    model, tensors = build().eval(), load_file(path)
    model.load_state_dict(tensors, strict=True)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (cell.architecture.mean, cell.architecture.std))
    pictures = torch.rand(2, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(backbone.eval()(pictures), model((pictures - mean) / std), atol=1e-4, rtol=1e-4)
    assert len(backbone.class_names) == 1000
    facts = cell.facts(path, backbone, mask)
    assert facts["zero_parameters"] == pytest.approx(sparsity, abs=1e-4)
    counted = [tensors[key] == 0 for key in backbone.prunable]
    assert facts["zero_weights"] == pytest.approx(torch.cat([zero.flatten() for zero in counted]).float().mean().item())


def test_every_published_file_of_the_scale_paper_is_pinned():
    from pipeline import scales
    from vpstudy.models import published

    section = scales._plain(scales.compose("paper"))["weights"]
    entries = {alias: OutsideWeights.model_validate(entry) for alias, entry in section.items()}
    assert [alias for alias, entry in entries.items() if entry.published]
    for entry in entries.values():
        if entry.published:
            assert published.url(entry).startswith("https://")


@pytest.mark.parametrize(
    ("model", "location", "said"),
    [
        (
            "torchvision/resnet50",
            "published",
            "give published/TAG; of torchvision/resnet50: IMAGENET1K_V1, IMAGENET",
        ),
        ("torchvision/resnet50", "published/V9", "of torchvision/resnet50: IMAGENET1K_V1"),
        ("timm/swin_tiny_patch4_window7_224", "published", "no file with a checksum is published"),
    ],
)
def test_what_nothing_pins_is_refused(model, location, said):
    from vpstudy.models import published

    with pytest.raises(ValueError, match=said):
        published.url(OutsideWeights(model=model, location=location))


def test_a_published_file_is_checked_and_kept_as_safetensors(tmp_path, monkeypatch):
    from vpstudy.models import published

    model = torchvision.models.squeezenet1_1(num_classes=3)
    for number, wrapped in enumerate((model.state_dict(), {"model": model.state_dict()})):
        torch.save(wrapped, tmp_path / "net.pth")
        digest = hashlib.sha256((tmp_path / "net.pth").read_bytes()).hexdigest()
        for digits, folder in ((digest[:8], "right"), ("0" * 8, "wrong")):
            named = tmp_path / f"net-{digits}.pth"
            named.write_bytes((tmp_path / "net.pth").read_bytes())
            monkeypatch.setattr(published, "url", lambda _, named=named: named.as_uri())
            if folder == "wrong":
                with pytest.raises(ValueError, match="does not begin as its name says"):
                    published.fetch(ENTRY, tmp_path / f"{folder}{number}")
                continue
            path = published.fetch(ENTRY, tmp_path / f"{folder}{number}")
            assert path.name == f"net-{digits}.safetensors"
            kept = load_file(path)
            assert all(torch.equal(kept[key], value) for key, value in model.state_dict().items())


def test_a_published_file_that_does_not_come_is_one_message(tmp_path, monkeypatch):
    from vpstudy.models import published

    monkeypatch.setattr(published, "url", lambda _: (tmp_path / "gone-01234567.pth").as_uri())
    with pytest.raises(FileNotFoundError, match=r"could not be downloaded .*get it by hand"):
        published.fetch(ENTRY, tmp_path)
