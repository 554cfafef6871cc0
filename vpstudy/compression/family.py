"""What every family of compressions has: how names are read, words for figures, a way of making. Free of torch."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, ClassVar, Self

MIN_SPARSITY, MAX_SPARSITY = 0.01, 0.99
MIN_BITS, MAX_BITS = 2, 8
SPARSITY_RULE = (
    f"sparsity must be in [{MIN_SPARSITY}, {MAX_SPARSITY}] written with two decimals, or three where the third is not 0"
)
BITS_RULE = f"the number of bits must be a whole number from {MIN_BITS} to {MAX_BITS}"
RANGES = {"minmax": "", "mse": ", MSE", "lsq": ", LSQ"}  # and what labels say of them


@dataclass(frozen=True)
class Compression:
    """One compression, as its name says; each family is a subclass in a file of `vpstudy/compression/families`.

    Names are identities: they stand in stage names, file names and results, so a compression has exactly one spelling
    (`imp-0.90`, never `imp-0.9`).

    Attributes
    ----------
    sparsity
        Nominal share of pruned weights (of pruned channels in each layer for `channels`).
    bits, activation_bits
        Width of a weight, and of what enters a layer; None where it stays in floating point.
    ranges
        Where a quantizer's range comes from: "minmax", "mse" (least squared error) or "lsq" (learned with the weights).
    family, form
        The first part of a name, and an example of one for messages.
    colours
        A matplotlib colour map for figures, darker with sparsity.
    learns_from_dense
        Recovers by distillation, without the source: for backbones whose source is not here, and only for those.
    """

    name: str
    sparsity: float | None = None
    bits: int | None = None
    activation_bits: int | None = None
    ranges: str | None = None

    family: ClassVar[str]
    form: ClassVar[str]
    colours: ClassVar[str] = "Purples"
    learns_from_dense: ClassVar[bool] = False

    @classmethod
    def read(cls, name: str, rest: str) -> Self:
        """The compression called `name`; `rest` is what follows the family. Raises ValueError saying what may."""
        if rest:
            raise ValueError("nothing may follow this name")
        return cls(name)

    @property
    def label(self) -> str:
        """For figures and tables."""
        raise NotImplementedError

    @property
    def short_label(self) -> str:
        """For columns."""
        return self.label

    @property
    def trains_on_source(self) -> bool:
        return False

    def problem(self, rounds: Collection[float], checkpoints: Collection[str]) -> str | None:
        """What is wrong with it where iterative pruning has these `rounds` and `checkpoints` come from outside."""
        return None

    def make(self, access: Any) -> Any:
        """Compress the dense network of `access`, a `SourceAccess`, to a `Compressed`. Imports torch, so only here.

        Raises
        ------
        ValueError
            If the backbone cannot have this compression, a checkpoint does not fit it, or training diverges.
        FileNotFoundError
            If what it is made from is not there; the message says which stage makes it.
        """
        raise NotImplementedError


class Pruning(Compression):
    """Names end in a sparsity. `words` are label and short label, with {} for the percentage."""

    words: ClassVar[tuple[str, str]]

    @classmethod
    def read(cls, name: str, rest: str) -> Self:
        number = re.fullmatch(r"-([0-9]*\.?[0-9]+)", rest)
        if number is None:
            raise ValueError(SPARSITY_RULE)
        sparsity = float(number[1])
        spelling = sparsity_text(sparsity)
        if number[1] != spelling:
            raise ValueError(f"{SPARSITY_RULE}: write {spelling} (names are identities, one spelling each)")
        return cls(name, sparsity=sparsity)

    @property
    def label(self) -> str:
        return self.words[0].format(percent(self.sparsity))

    @property
    def short_label(self) -> str:
        return self.words[1].format(percent(self.sparsity))


def sparsity_text(sparsity: float) -> str:
    """The one spelling of a sparsity in names: 0.9 → "0.90", 0.488 → "0.488".

    Raises ValueError outside [0.01, 0.99] and for more than three decimals.
    """
    text = f"{sparsity:.3f}"
    if not MIN_SPARSITY <= sparsity <= MAX_SPARSITY or float(text) != sparsity:
        raise ValueError(f"{SPARSITY_RULE}, got {sparsity}")
    return text.removesuffix("0")


def bits_of(written: str) -> int:
    """ "4" → 4. Raises ValueError for anything but a whole number of bits that quantizers have."""
    if not re.fullmatch(r"[1-9][0-9]*", written) or not MIN_BITS <= int(written) <= MAX_BITS:
        raise ValueError(BITS_RULE)
    return int(written)


def percent(share: float) -> str:
    """0.9 → "90", 0.9487 → "94.9"."""
    return f"{100 * share:.3g}"
