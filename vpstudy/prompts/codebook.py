"""Codebooks for prompts: each value is replaced by the nearest of 2^bits values and stored as a code of a few bits.

Source: the qprompt paper (arXiv 2407.10704), which standardises weights and clusters them by one-dimensional k-means.
The uniform and random codebooks are controls that the paper lacks.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

Scheme = Literal["clustered", "uniform", "random"]
SCHEMES = get_args(Scheme)
MOST_BITS = 8
CODEBOOK_BYTES = 2  # per codebook value, half precision


@dataclass(frozen=True)
class Packed:
    """A quantized tensor as stored."""

    codes: Tensor  # uint8, `bits` bits a value, in order, lowest bits first
    book: Tensor  # (2^bits,), half precision
    shape: tuple[int, ...]

    @property
    def bits(self) -> int:
        return len(self.book).bit_length() - 1

    @property
    def bytes(self) -> int:
        """Bytes of codes and codebook: ⌈bits · N / 8⌉ + 2 · 2^bits."""
        return self.codes.numel() + CODEBOOK_BYTES * len(self.book)

    def unpacked(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """The dequantized tensor."""
        n = int(np.prod(self.shape))
        flat = np.unpackbits(self.codes.cpu().numpy(), bitorder="little")[: n * self.bits].reshape(n, self.bits)
        places = flat.astype(np.int64) @ (1 << np.arange(self.bits))
        return self.book.to(dtype)[torch.from_numpy(places).to(self.book.device)].view(self.shape)


def quantized(values: Tensor, bits: int, scheme: Scheme, seed: int = 0) -> Packed:
    """Quantize trained values: fit a codebook and pack."""
    book = fit(values, bits, scheme, seed)
    return pack(nearest(values, book), book)


def fit(values: Tensor, bits: int, scheme: Scheme = "clustered", seed: int = 0) -> Tensor:
    """Fit a codebook (2^bits,), in increasing order, to `values` of any shape.

    "clustered" is k-means, "uniform" takes even steps from the minimum to the maximum, and "random" draws from a normal
    distribution with their mean and deviation. Raises ValueError for bits outside 1 … 8, an unknown scheme, or values
    that are empty or not finite.
    """
    check_bits(bits)
    if scheme not in SCHEMES:
        raise ValueError(f"scheme {scheme!r} is unknown; allowed: {', '.join(SCHEMES)}")
    flat = values.detach().flatten().double()
    if not len(flat) or not torch.isfinite(flat).all():
        raise ValueError("a codebook is fitted to at least one value, all of them finite")
    if scheme == "uniform":
        book = torch.linspace(0, 1, 2**bits, dtype=torch.float64, device=flat.device)
        book = flat.min() + book * (flat.max() - flat.min())
    elif scheme == "random":
        draw = torch.randn(2**bits, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        book = (draw.to(flat.device) * flat.std(correction=0) + flat.mean()).sort().values
    else:
        book = _clusters(flat.sort().values, 2**bits)
    return book.to(values.dtype)


def _clusters(ordered: Tensor, k: int) -> Tensor:
    """K-means of sorted values: the best of three runs of Lloyd's algorithm.

    The starts are quantiles (good for dense regions), even steps (good for the tails) and their mean.
    """
    n = len(ordered)
    places = ((torch.arange(k, device=ordered.device) + 0.5) * n / k).long().clamp(max=n - 1)
    even = (torch.arange(k, device=ordered.device, dtype=ordered.dtype) + 0.5) / k
    even = ordered[0] + even * (ordered[-1] - ordered[0])
    books = [_lloyd(ordered, start) for start in (ordered[places], even, (ordered[places] + even) / 2)]
    return min(books, key=lambda book: ((ordered - book[nearest(ordered, book)]) ** 2).sum().item())


def _lloyd(ordered: Tensor, book: Tensor) -> Tensor:
    """Lloyd's algorithm until convergence. Clusters are intervals, so prefix sums give their means."""
    n, ends = len(ordered), None
    sums = torch.cat([ordered.new_zeros(1), ordered.cumsum(0)])
    while True:
        inner = torch.searchsorted(ordered, (book[1:] + book[:-1]) / 2, right=True)
        new = torch.cat([inner.new_zeros(1), inner, inner.new_full((1,), n)])
        if ends is not None and torch.equal(new, ends):
            return book
        ends = new
        counts = ends[1:] - ends[:-1]
        means = (sums[ends[1:]] - sums[ends[:-1]]) / counts.clamp(min=1)
        book = torch.where(counts > 0, means, book)  # an empty cluster keeps its value


def nearest(values: Tensor, book: Tensor) -> Tensor:
    """Indices of the nearest values in a sorted codebook, int64, in the shape of `values`; ties go down."""
    return torch.bucketize(values, (book[1:] + book[:-1]) / 2)


def pack(codes: Tensor, book: Tensor) -> Packed:
    """Pack codes (any shape) with their `book` (2^bits,), rounded to half precision.

    Raises ValueError if the length of the book is not a power of two or a code lies outside it.
    """
    bits = len(book).bit_length() - 1
    if len(book) != 2**bits:
        raise ValueError(f"a codebook has 2, 4, …, 256 values; this one has {len(book)}")
    check_bits(bits)
    if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < len(book):
        raise ValueError(f"codes lie in 0 … {len(book) - 1}; these run from {int(codes.min())} to {int(codes.max())}")
    places = codes.detach().flatten().cpu().numpy()[:, None] >> np.arange(bits) & 1
    stored = np.packbits(places.astype(np.uint8), bitorder="little")
    return Packed(torch.from_numpy(stored), book.detach().cpu().half(), tuple(codes.shape))


def standardise(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(values − mean) / deviation, the mean and the deviation (0-dimensional); a constant has deviation 1."""
    mean, deviation = values.mean(), values.std(correction=0)
    deviation = torch.where(deviation > 0, deviation, torch.ones_like(deviation))
    return (values - mean) / deviation, mean, deviation


def shares(codes: Tensor, bits: int) -> Tensor:
    """Share of the codes at each of the 2^bits values; sums to 1."""
    return torch.bincount(codes.flatten(), minlength=2**bits).double() / codes.numel()


def divergence(old: Tensor, new: Tensor) -> float:
    """KL(new ‖ old) of two histograms of shares, in nats, with 5e-7 added to each bin."""
    old, new = old + 5e-7, new + 5e-7
    old, new = old / old.sum(), new / new.sum()
    return float((new * (new / old).log()).sum())


def stored_bytes(n: int, bits: int) -> int:
    """Bytes of `n` values at `bits` bits and their codebook, as the paper counts; none at 16 or 32 bits."""
    if bits in (16, 32):
        return n * bits // 8
    check_bits(bits)
    return -(-n * bits // 8) + CODEBOOK_BYTES * 2**bits


def check_bits(bits: int) -> None:
    """Raise ValueError for bits outside 1 … 8."""
    if not 1 <= bits <= MOST_BITS:
        raise ValueError(f"bits is {bits}; a codebook has 1 to {MOST_BITS}")
