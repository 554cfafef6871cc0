"""Quantized prompts as files: the bytes that are claimed, the values that were saved, and what is refused."""

import pytest
import torch

from vpstudy.prompts import stored
from vpstudy.prompts.codebook import stored_bytes
from vpstudy.prompts.quantized import Quantizer, Settings


def packed(bits: int, shape: tuple[int, ...] = (4, 128)):
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return Quantizer(values, Settings(bits)).packed(values)


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("shape", [(4, 128), (3, 5, 7)])
def test_a_file_has_the_claimed_bytes_and_a_header(bits, shape, tmp_path):
    prompt, place = packed(bits, shape), tmp_path / "prompt.vpq"
    stored.save(prompt, place)
    n = torch.Size(shape).numel()
    assert place.stat().st_size == stored_bytes(n, bits) + stored.header_bytes(len(shape))
    again = stored.load(place)
    assert again.shape == shape and again.bits == bits
    assert torch.equal(again.unpacked(), prompt.unpacked())


def test_the_published_size_holds_at_the_published_width(tmp_path):
    prompt = packed(1, (4, 512))
    stored.save(prompt, tmp_path / "p")
    assert prompt.bytes == 260
    assert (tmp_path / "p").stat().st_size == 260 + 14


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda b: b"PK" + b[2:], "is no quantized prompt"),
        (lambda b: b[:3], "is no quantized prompt"),
        (lambda b: b[:9], "ends within its header"),
        (lambda b: b[:-1], "bytes, but its header says"),
        (lambda b: b + b"0", "bytes, but its header says"),
        (lambda b: b[:4] + bytes([9]) + b[5:], "bits is 9"),
    ],
)
def test_damaged_files_are_refused(change, told, tmp_path):
    place = tmp_path / "p"
    stored.save(packed(2), place)
    place.write_bytes(change(place.read_bytes()))
    with pytest.raises(ValueError, match=told):
        stored.load(place)
