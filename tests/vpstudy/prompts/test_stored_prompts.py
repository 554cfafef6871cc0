"""Prompts in files: bytes, what is read again, and files of another kind."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from vpstudy.prompts import codebook, stored
from vpstudy.prompts.stored import Stored
from vpstudy.prompts.text import ClassNetwork, MetaNetwork

CONTEXT = torch.randn(4, 32, generator=torch.Generator().manual_seed(0))


def test_what_is_written_is_read_again_and_packed_where_quantized(tmp_path):
    place, few = tmp_path / "0.safetensors", codebook.quantized(CONTEXT, 2, "clustered")
    networks = {"cocoop/0": MetaNetwork(16, 4, 32, seed=1), "tcp/0": ClassNetwork(16, 4, 32, seed=1)}
    kept = {"full/0": Stored(CONTEXT), "qat-2/0": Stored(few)} | {n: Stored(CONTEXT, of) for n, of in networks.items()}
    stored.write(place, kept)
    again, tensors = stored.read(place), load_file(place)
    assert list(again) == list(kept)
    assert torch.equal(again["full/0"].context, CONTEXT)
    assert torch.equal(again["qat-2/0"].context, few.unpacked())
    assert "qat-2/0/context" not in tensors
    assert tensors["qat-2/0/codes"].nbytes + tensors["qat-2/0/book"].nbytes == few.bytes == 4 * 32 * 2 // 8 + 4 * 2
    inputs = torch.randn(3, 16)
    for name, network in networks.items():
        torch.testing.assert_close(again[name].network(inputs), network(inputs))
    first = place.read_bytes()
    stored.write(place, kept)
    assert place.read_bytes() == first


def test_files_of_another_kind_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such file of prompts; give one that the stage prompt"):
        stored.read(tmp_path / "0.safetensors")
    (tmp_path / "text").write_text("no tensors")
    with pytest.raises(ValueError, match=r"text: no file of prompts .* give one that the stage prompt writes"):
        stored.read(tmp_path / "text")
    save_file({"full/0": CONTEXT}, tmp_path / "other")
    with pytest.raises(ValueError, match="other: this file holds no prompts; give one that the stage prompt writes"):
        stored.read(tmp_path / "other")
    stored.write(tmp_path / "none", {})
    assert stored.read(tmp_path / "none") == {}
