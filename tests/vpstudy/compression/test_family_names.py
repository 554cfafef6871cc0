"""Names of compressions: one spelling each, errors that say what is allowed; one registry for all that a family is."""

import re
import subprocess
import sys

import pytest

from studies import parameters
from studies.figures import compressions
from studies.parameters import read
from vpstudy import paths
from vpstudy.compression import registry
from vpstudy.compression.family import Compression, sparsity_text
from vpstudy.compression.registry import FAMILIES, allowed_names, parse
from vpstudy.settings import ParameterError


@pytest.mark.parametrize(
    ("name", "fields", "label"),
    [
        ("dense", {}, "dense"),
        ("imp-0.90", {"sparsity": 0.9}, "90 % sparse (IMP)"),
        ("imp-0.488", {"sparsity": 0.488}, "48.8 % sparse (IMP)"),
        ("magnitude_bn-0.99", {"sparsity": 0.99}, "one-shot magnitude, 99 % sparse, new BatchNorm statistics"),
        ("dense_distilled", {}, "dense, recovered"),
        ("magnitude_distilled-0.50", {"sparsity": 0.5}, "recovered 50 %"),
        ("reconstructed-0.50", {"sparsity": 0.5}, "one-shot magnitude, 50 % sparse, reconstructed"),
        ("reconstructed_distilled-0.50", {"sparsity": 0.5}, "reconstructed and recovered 50 %"),
        ("nm-2of4", {"sparsity": 0.5}, "2:4 (50 % sparse)"),
        ("int2", {"bits": 2, "ranges": "minmax"}, "2-bit weights"),
        ("int4-mse", {"bits": 4, "ranges": "mse"}, "4-bit weights, MSE"),
        ("w4a8", {"bits": 4, "activation_bits": 8, "ranges": "minmax"}, "W4A8"),
        ("int4-bc", {"bits": 4, "ranges": "bc"}, "4-bit weights, bias-corrected"),
        ("w4a8-gptq", {"bits": 4, "activation_bits": 8, "ranges": "gptq"}, "W4A8, GPTQ"),
        ("w3a3-lsq", {"bits": 3, "activation_bits": 3, "ranges": "lsq"}, "W3A3, LSQ"),
        ("file-mine", {}, "mine"),
    ],
)
def test_names_are_read(name, fields, label):
    found = parse(name)
    assert found == type(found)(name, **fields) and name.startswith(found.family)
    assert compressions.label(name) == found.label == label


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("imp-1.5", "[0.01, 0.99] written with two decimals"),
        ("imp-0.00", "[0.01, 0.99]"),
        ("magnitude-0.999", "two decimals"),
        ("imp-0.9", "write 0.90"),
        ("imp-.9", "write 0.90"),
        ("imp-0.790", "write 0.79"),
        ("imp-0.8665", "three where"),
        ("imp-nan", "two decimals"),
        ("imp", "two decimals"),
        ("imp-\u0660.\u0669\u0660", "two decimals"),  # digits, but not these digits
        ("int1", "from 2 to 8"),
        ("int04", "from 2 to 8"),
        ("int4-lsq", "only -mse, -bc or -gptq may follow"),
        ("w4", "weights and of activations"),
        ("w4a9", "from 2 to 8"),
        ("w4a4-max", "weights and of activations"),
        ("nm-4of2", "how many weights of how many"),
        ("nm-2of04", "how many weights of how many"),
        ("file-../x", "key of an entry"),
        ("dense-0.90", "nothing may follow"),
        ("imp-0.90\n", "unknown"),
        (" dense", "unknown"),
        ("IMP-0.90", "unknown"),
        ("", "unknown"),
        (4, "unknown"),
        (None, "unknown"),
    ],
)
def test_errors_name_the_value_the_reason_and_the_allowed_forms(name, reason):
    with pytest.raises(ValueError, match=re.escape(reason)) as error:
        parse(name)
    assert str(error.value).startswith(f"{name}: ") and str(error.value).endswith(f"allowed: {allowed_names()}")


@pytest.mark.parametrize("hundredths", range(1, 100, 7))
def test_a_sparsity_has_one_spelling_that_reads_back(hundredths):
    text = sparsity_text(hundredths / 100)
    assert text == f"0.{hundredths:02d}" and parse(f"imp-{text}").sparsity == hundredths / 100


@pytest.mark.parametrize("sparsity", [0.0, 1.0, -0.5, 0.005, 0.8755, float("nan")])
def test_a_sparsity_that_has_no_name_is_an_error(sparsity):
    with pytest.raises(ValueError, match="two decimals"):
        sparsity_text(sparsity)


def test_nothing_heavy_is_imported():
    code = "import sys, vpstudy.compression.registry; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_family_has_what_a_family_needs():
    for family, kind in FAMILIES.items():
        assert kind.family == family and kind.form in allowed_names()
        assert kind.make is not Compression.make and kind.label is not Compression.label


class Coin(Compression):
    """A family of this test."""

    family, form, label = "coin", "coin", "by a coin"
    trains_on_source = True

    def problem(self, rounds, checkpoints):
        return None if rounds else "needs a round"

    def make(self, access):
        return f"{self.name} of {access}"


def test_one_line_in_the_registry_is_all_that_a_new_family_needs(monkeypatch):
    content = read(paths.SCALES / "default/params.yaml") | {"compressions": ["dense", "coin"]}
    with pytest.raises(ParameterError, match=r"'coin': unknown compression; allowed: .*imp-0.80"):
        parameters.validate(content, "params.yaml")
    monkeypatch.setitem(registry.FAMILIES, "coin", Coin)  # the line
    assert parse("coin").make("cnn") == "coin of cnn"
    assert compressions.label("coin") == "by a coin" and compressions.colour("coin")
    assert compressions.ordered(["coin", "int4", "dense"]) == ["dense", "int4", "coin"]
    assert "coin" in allowed_names()
    with pytest.raises(ValueError, match="coin-2: nothing may follow"):
        parse("coin-2")
    left_out = {"control_compressions": ["dense"], "fine_tuning_compressions": "all"}
    hidden_cost = content["hidden_cost"] | {"settings": content["hidden_cost"]["settings"] | left_out}
    across = content["across"] | {"axes": content["across"]["axes"] | {"compressions": ["dense"]}}
    content |= {"hidden_cost": hidden_cost, "across": across}
    assert parameters.validate(content, "params.yaml").compressions == ["dense", "coin"]
    net = {"model": "timm/resnet18", "location": "net.safetensors", "sha256": "0" * 64}
    outside = {"weights": {"net": net}, "outside": ["net"], "backbones": ["cnn", "net"]}
    with pytest.raises(ParameterError, match="'coin' trains on the source, and 'net' of backbones is in outside"):
        parameters.validate(content | outside, "params.yaml")
