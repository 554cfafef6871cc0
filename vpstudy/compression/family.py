"""Base classes of compression families: names, labels for figures, and `make`. Imports no torch."""

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
RANGES = {"minmax": "", "mse": ", MSE", "bc": ", bias-corrected", "gptq": ", GPTQ", "lsq": ", LSQ"}  # as labels say it


@dataclass(frozen=True)
class Compression:
    """One compression, as its name says; each family is a subclass in `vpstudy/compression/families`.

    A name appears in stage names, files and results, so it has exactly one spelling (`imp-0.90`, never `imp-0.9`).
    """

    name: str
    sparsity: float | None = None  # nominal share of pruned weights
    bits: int | None = None  # of a weight; None: floating point
    activation_bits: int | None = None  # of a layer input; None: floating point
    # "minmax", "mse" (least squared error), "bc" and "gptq" (those of "mse", with the bias corrected, and with weights
    # that make up for each other's rounding), or "lsq" (learned with the weights)
    ranges: str | None = None

    family: ClassVar[str]  # first part of a name
    form: ClassVar[str]  # example of a name, for messages
    colours: ClassVar[str] = "Purples"  # matplotlib colour map, darker with sparsity
    learns_from_dense: ClassVar[bool] = False  # recovers by distillation: only for backbones without their source
    trains_on_source: ClassVar[bool] = False  # only for backbones with their source
    of_networks: ClassVar[bool] = False  # not for text towers: it needs BatchNorm, or is a file of a network
    recovered: ClassVar[bool] = False  # pruned, then mended: by training, distillation or least squares
    screens: ClassVar[bool] = False  # a harm on purpose, which only shows how a target responds
    control: ClassVar[str | None] = None  # what was trained alike, uncompressed, for changes; None: dense itself

    @classmethod
    def read(cls, name: str, rest: str) -> Self:
        """Parse `name`, with `rest` the part after the family. Raises ValueError saying what is allowed."""
        if rest:
            raise ValueError("nothing may follow this name")
        return cls(name)

    @property
    def label(self) -> str:
        """Label in figures and tables."""
        raise NotImplementedError

    @property
    def short_label(self) -> str:
        """Label in columns."""
        return self.label

    def problem(self, rounds: Collection[float], checkpoints: Collection[str]) -> str | None:
        """What is wrong given the `rounds` of IMP and the outside `checkpoints`; None if nothing is."""
        return None

    def check(self, backbone: Any) -> None:
        """Raise ValueError if `backbone` cannot have this compression, whatever its weights."""

    def needs(self, checkpoint: int) -> tuple[str, ...]:
        """Files in the folder of the backbone that it is made from, beside its source `checkpoint`."""
        return ()

    def make(self, access: Any) -> Any:
        """Compress the dense network of `access`, a `SourceAccess`, to a `Compressed`. Imports torch, so only here.

        Raises ValueError if the backbone cannot have this compression, a checkpoint does not fit or training diverges;
        FileNotFoundError if an input is missing.
        """
        raise NotImplementedError


class Pruning(Compression):
    """Families whose names end in a sparsity. `words` are label and short label, with {} for the percentage."""

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
    """0.9 → "0.90", 0.488 → "0.488". Raises ValueError outside [0.01, 0.99] and for more than three decimals."""
    text = f"{sparsity:.3f}"
    if not MIN_SPARSITY <= sparsity <= MAX_SPARSITY or float(text) != sparsity:
        raise ValueError(f"{SPARSITY_RULE}, got {sparsity}")
    return text.removesuffix("0")


def bits_of(written: str) -> int:
    """Number of bits from text: "4" → 4. Raises ValueError unless it is a whole number from 2 to 8."""
    if not re.fullmatch(r"[1-9][0-9]*", written) or not MIN_BITS <= int(written) <= MAX_BITS:
        raise ValueError(BITS_RULE)
    return int(written)


def percent(share: float) -> str:
    """0.9 → "90", 0.9487 → "94.9"."""
    return f"{100 * share:.3g}"
