"""Parameters of the vpns study: what is refused, and how."""

import pytest

from studies.parameters import read, validate
from vpstudy import paths
from vpstudy.settings import ParameterError

CASES = {  # axes or settings, and what the error says
    "a sparsity of one": ({"sparsities": [0.8, 1.0]}, "vpns.settings.sparsities.1: 1.0"),
    "sparsities out of order": ({"sparsities": [0.95, 0.8]}, "sparsities: [0.95, 0.8]: the entries must increase"),
    "an unknown method": (
        {"pruners": ["dense", "vpn"]},
        "vpns.axes.pruners.1: 'vpn': no such pruner; did you mean vpns?",
    ),
    "no dense network": ({"pruners": ["vpns"]}, "pruners: 'dense' is missing"),
    "an unknown control": ({"controls": ["two_pas"]}, "'two_pas': no such control; did you mean two_pass?"),
    "a frame wider than half": (
        {"prompts": {"frame": {"width": 17}}},
        "width (17) must not exceed half of canvas (32)",
    ),
    "a border": ({"prompt": "border", "prompts": {"border": {"inner": 20}}}, "'border' is not added to a picture"),
    "a picture larger than the canvas": ({"inner": 40}, "inner (40) must not exceed canvas (32)"),
    "a control at a sparsity that is not run": ({"control_sparsities": [0.9]}, "control_sparsities: 0.9 is not in"),
    "a round that is missing": ({"imp_rounds": [0.5, 0.8]}, "imp_rounds: 0.95, which is in sparsities, is missing"),
    "steps that cannot be cut": ({"steps": 30}, "vpns.settings.steps: 30"),
    "an ablation of no sparsity": (
        {"pruners": ["dense", "vpns_frame_4"], "control_sparsities": []},
        "pruners that are ablations need at least one",
    ),
    "an ablation that does not fit": (
        {"pruners": ["dense", "vpns_input_24"], "canvas": 20, "inner": 20},
        "pruners: vpns_input_24 does not fit: inner (24) must not exceed canvas (20)",
    ),
    "channels without a ratio": ({"pruners": ["dense", "depgraph"]}, "channel_ratios: pruners that prune channels"),
    "too few steps for IMP's rounds": (
        {"steps": 4, "imp_rounds": [0.2, 0.5, 0.8, 0.9, 0.95]},
        "steps (4): IMP cuts them into 6 (imp_rounds and tuning)",
    ),
    "pictures moved out of sight": ({"shift": 32}, "shift (32) must be below inner (32)"),
    "whole layers": ({"channel_ratios": [0.95]}, "vpns.settings.channel_ratios.0: 0.95"),
    "a backbone that was not pretrained": ({"backbones": ["cnn-r7"]}, "'cnn-r7' is not in pretrained"),
}


def refused(change: dict, **more) -> str:
    content = read(paths.SCALES / "default/params.yaml") | more
    for key, value in change.items():
        content["vpns"]["axes" if key in content["vpns"]["axes"] else "settings"][key] = value
    with pytest.raises(ParameterError) as error:
        validate(content, "params.yaml")
    return str(error.value)


@pytest.mark.parametrize("name", CASES)
def test_bad_values_are_refused_before_any_work(name):
    change, told = CASES[name]
    message = refused(change)
    assert told in message
    assert "nothing was run" in message


def test_a_transformer_has_no_channels_and_one_size():
    change = {
        "backbones": ["vit"],
        "pruners": ["dense", "slimming"],
        "channel_ratios": [0.3],
        "canvas": 40,
        "inner": 40,
    }
    message = refused(change, pretrained=["cnn", "vit"])
    assert "'slimming' prunes by BatchNorm factors, and 'vit' has none" in message
    assert "vpns.settings.canvas: 40: 'vit' takes only source.size (32)" in message
