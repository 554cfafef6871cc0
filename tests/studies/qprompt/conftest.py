"""Parameters of cells that take a fraction of a second, and the untrained CLIPs that they load."""

import copy

import pytest

from studies.parameters import Parameters, read, validate
from vpstudy import paths
from vpstudy.models import clip as clips
from vpstudy.models.architectures import ARCHITECTURES

FEW = {"seeds": [3], "epochs": 2, "evaluations": 1}
SMALL = {
    "pretrained": ["cnn", "vit"],
    "outside": [],
    "clips": ["cnn", "vit"],
    "real_network": {"axes": {"backbones": []}},
    "clip_source": {"width": 32, "heads": 2, "layers": 2, "embed": 16, "held_out": 100},
    "qprompt": {
        "axes": {"backbones": ["cnn"], "targets": ["digits"]},
        "settings": FEW
        | {"shots": 1, "validation_per_class": 2, "bits": [1], "cocoop": {"epochs": 1, "evaluations": 1}},
    },
    "few_shot": {
        "axes": {"backbones": ["cnn"], "targets": ["digits"]},
        "settings": {"seeds": [0], "shots": [1, 2], "epochs": [1, 2], "context": 3},
    },
    "other_pictures": {
        "axes": {"backbones": ["cnn"], "targets": ["digits"]},
        "settings": {"seeds": [0], "shifts": ["inverted"], "others": ["letters"]},
    },
    "multimodal": {"axes": {"backbones": ["vit"]}, "settings": FEW | {"bits": [1, 4], "batch": 5}},
}


def changed(content: dict, changes: dict) -> dict:
    content = copy.deepcopy(content)
    for key, value in changes.items():
        inside = isinstance(value, dict) and isinstance(content.get(key), dict)
        content[key] = changed(content[key], value) if inside else value
    return content


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """From changes to parameters; CLIPs of the two architectures lie in a temporary folder."""
    content = changed(read(paths.SCALES / "default/params.yaml"), SMALL)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MODELS", "RESULTS", "FEATURES"):
            patch.setattr(paths, name, tmp_path_factory.mktemp("data") / name.lower())
        towers = {"size": 32, "width": 32, "heads": 2, "layers": 2, "embed": 16}
        for name, architecture in ARCHITECTURES.items():
            place = paths.MODELS / "default" / name / "clip/0.safetensors"
            clips.save(clips.small_clip(architecture, seed=0, **towers), architecture, place, towers)

        def parameters(**changes) -> Parameters:
            return validate(changed(content, changes), "params.yaml")

        yield parameters
