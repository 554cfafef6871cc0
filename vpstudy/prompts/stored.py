"""File format of quantized prompts: a header, the packed codes and the codebook in half precision, little-endian.

Header: b"VPQ1", bits (1 byte), number of dimensions (1 byte), each dimension (4 bytes).
"""

import struct
from pathlib import Path

import numpy as np
import torch

from vpstudy import atomic
from vpstudy.prompts.codebook import CODEBOOK_BYTES, Packed, check_bits

MAGIC = b"VPQ1"


def header_bytes(n_dimensions: int) -> int:
    return len(MAGIC) + 2 + 4 * n_dimensions


def save(packed: Packed, path: Path) -> None:
    """Write the file atomically: the header and `packed.bytes`."""
    header = MAGIC + struct.pack(f"<BB{len(packed.shape)}I", packed.bits, len(packed.shape), *packed.shape)
    book = packed.book.numpy().astype("<f2").tobytes()
    atomic.write_bytes(path, header + packed.codes.numpy().tobytes() + book)


def load(path: Path) -> Packed:
    """Read a file of `save`. Raises ValueError for other files, and for lengths that contradict the header."""
    content = Path(path).read_bytes()
    if content[: len(MAGIC)] != MAGIC or len(content) < header_bytes(0):
        raise ValueError(f"{Path(path).name} is no quantized prompt: it does not begin with {MAGIC.decode()}")
    bits, dimensions = content[len(MAGIC)], content[len(MAGIC) + 1]
    check_bits(bits)
    start = header_bytes(dimensions)
    if len(content) < start:
        raise ValueError(f"{Path(path).name} ends within its header; write it again")
    shape = struct.unpack_from(f"<{dimensions}I", content, len(MAGIC) + 2)
    n_codes = -(-int(np.prod(shape)) * bits // 8)
    length = start + n_codes + CODEBOOK_BYTES * 2**bits
    if len(content) != length:
        raise ValueError(f"{Path(path).name} has {len(content)} bytes, but its header says {length}; write it again")
    codes = torch.from_numpy(np.frombuffer(content, np.uint8, n_codes, start).copy())
    book = torch.from_numpy(np.frombuffer(content, "<f2", 2**bits, start + n_codes).astype(np.float16))
    return Packed(codes, book, tuple(shape))
