"""Names of compressions: one spelling each, errors that say what is allowed."""

import re
import subprocess
import sys

import pytest

from vpstudy.compression.names import FAMILIES, Compression, allowed_names, parse, sparsity_text


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dense", Compression("dense", "dense")),
        ("imp-0.90", Compression("imp-0.90", "imp", sparsity=0.9)),
        ("imp-0.01", Compression("imp-0.01", "imp", sparsity=0.01)),
        ("magnitude-0.99", Compression("magnitude-0.99", "magnitude", sparsity=0.99)),
        ("int2", Compression("int2", "int", bits=2, ranges="minmax")),
        ("int8", Compression("int8", "int", bits=8, ranges="minmax")),
        ("int4-mse", Compression("int4-mse", "int", bits=4, ranges="mse")),
        ("w4a8", Compression("w4a8", "w", bits=4, activation_bits=8, ranges="minmax")),
        ("w3a3-lsq", Compression("w3a3-lsq", "w", bits=3, activation_bits=3, ranges="lsq")),
        ("imp-0.488", Compression("imp-0.488", "imp", sparsity=0.488)),
        ("magnitude_bn-0.90", Compression("magnitude_bn-0.90", "magnitude_bn", sparsity=0.9)),
        ("file-mine", Compression("file-mine", "file", label="mine")),
    ],
)
def test_names_are_read(name, expected):
    assert parse(name) == expected


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("imp-1.5", "[0.01, 0.99] written with two decimals"),
        ("imp-1.50", "[0.01, 0.99]"),
        ("imp-0.00", "[0.01, 0.99]"),
        ("imp-1.00", "[0.01, 0.99]"),
        ("magnitude-0.999", "two decimals"),
        ("imp-0.9", "write 0.90"),
        ("imp-.9", "write 0.90"),
        ("imp-00.90", "write 0.90"),
        ("imp-0.900", "write 0.90"),
        ("imp-nan", "two decimals"),
        ("imp--0.90", "two decimals"),
        ("imp-", "two decimals"),
        ("imp", "two decimals"),
        ("imp-\u0660.\u0669\u0660", "two decimals"),  # digits, but not these digits
        ("imp-0.90-x", "two decimals"),
        ("int1", "from 2 to 8"),
        ("int9", "from 2 to 8"),
        ("int04", "from 2 to 8"),
        ("int4-lsq", "only -mse may follow"),
        ("w4", "weights and of activations"),
        ("w4a1", "from 2 to 8"),
        ("w4a4-max", "weights and of activations"),
        ("imp-0.790", "write 0.79"),
        ("imp-0.8665", "three where"),
        ("file-", "key of an entry"),
        ("file-../x", "key of an entry"),
        ("int4.0", "from 2 to 8"),
        ("int", "from 2 to 8"),
        ("dense-0.90", "nothing may follow"),
        ("imp-0.90\n", "unknown"),
        (" dense", "unknown"),
        ("IMP-0.90", "unknown"),
        ("prune-0.90", "unknown"),
        ("", "unknown"),
        (4, "unknown"),
        (None, "unknown"),
    ],
)
def test_errors_name_the_value_the_reason_and_the_allowed_forms(name, reason):
    with pytest.raises(ValueError, match=re.escape(reason)) as error:
        parse(name)
    message = str(error.value)
    assert message.startswith(f"{name}: ")
    assert message.endswith(f"allowed: {allowed_names()}")


def test_every_family_stands_in_the_message():
    message = allowed_names()
    assert all(family.form in message for family in FAMILIES.values())
    assert all(form in message for form in ("dense", "imp-0.80", "magnitude-0.90", "int2 … int8"))


@pytest.mark.parametrize("hundredths", range(1, 100))
def test_a_sparsity_has_one_spelling_that_reads_back(hundredths):
    text = sparsity_text(hundredths / 100)
    assert text == f"0.{hundredths:02d}"
    assert parse(f"imp-{text}").sparsity == hundredths / 100


@pytest.mark.parametrize("sparsity", [0.0, 1.0, -0.5, 0.005, 0.8755, float("nan")])
def test_a_sparsity_that_has_no_name_is_an_error(sparsity):
    with pytest.raises(ValueError, match="two decimals"):
        sparsity_text(sparsity)


def test_nothing_heavy_is_imported():
    code = "import sys, vpstudy.compression.names; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
