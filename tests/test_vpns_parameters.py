"""Parameters of the vpns study: what is refused, and how."""

import pytest

from studies.parameters import validate
from vpstudy import paths
from vpstudy.settings import ParameterError, read

CASES = {
    "a sparsity of one": ({"sparsities": [0.8, 1.0]}, "vpns.sparsities.1: 1.0"),
    "sparsities out of order": ({"sparsities": [0.95, 0.8]}, "vpns.sparsities: [0.95, 0.8]: the entries must increase"),
    "an unknown method": ({"pruners": ["dense", "vpn"]}, "vpns.pruners.1: 'vpn': no such pruner; did you mean vpns?"),
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
    "steps that cannot be cut": ({"steps": 30}, "vpns.steps: 30"),
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
        "vpns.steps: 4: IMP cuts them into 6 (imp_rounds and tuning); give at least 6",
    ),
    "pictures moved out of sight": ({"shift": 32}, "vpns.shift: 32: must be below the side of the picture (32)"),
    "whole layers": (
        {"pruners": ["dense", "depgraph"], "channel_ratios": [0.95]},
        "vpns.channel_ratios: [0.95]: at most 0.9",
    ),
    "a backbone that was not pretrained": ({"backbones": ["cnn-r7"]}, "vpns.backbones: 'cnn-r7' is not in pretrained"),
}


def test_a_transformer_has_no_channels_and_one_size():
    content = read(paths.SCALES / "default/params.yaml")
    content["pretrained"] = ["cnn", "vit"]
    content["vpns"] |= {"backbones": ["vit"], "pruners": ["dense", "slimming"], "channel_ratios": [0.3]}
    content["vpns"] |= {"canvas": 40, "inner": 40}
    with pytest.raises(ParameterError) as error:
        validate(content, "params.yaml")
    assert "vpns.pruners: 'slimming' prunes channels by their BatchNorm factors, and 'vit' has none" in str(error.value)
    assert "vpns.canvas: 40: 'vit' takes only source.size (32)" in str(error.value)


@pytest.mark.parametrize("name", CASES)
def test_bad_values_are_refused_before_any_work(name):
    change, told = CASES[name]
    content = read(paths.SCALES / "default/params.yaml")
    content["vpns"] |= change
    with pytest.raises(ParameterError) as error:
        validate(content, "params.yaml")
    assert told in str(error.value)
    assert "nothing was run" in str(error.value)


def test_without_a_change_nothing_is_refused():
    assert validate(read(paths.SCALES / "default/params.yaml"), "params.yaml").vpns.pruners[0] == "dense"
