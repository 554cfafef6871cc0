"""Words, colours and order of compressions in figures: a hue for sparsity, one for bits, grey for dense."""

from collections.abc import Iterable

import matplotlib
import seaborn as sns
from matplotlib.colors import to_hex

from vpstudy.compression.names import FAMILIES, parse

# For each family that prunes: its label, its short label for columns, a colour map to darken with sparsity.
PRUNING = {
    "imp": ("{} % sparse (IMP)", "IMP {} %", "Purples"),
    "magnitude": ("one-shot magnitude, {} % sparse", "one-shot {} %", "RdPu"),
    "magnitude_bn": ("one-shot magnitude, {} % sparse, new BatchNorm statistics", "one-shot {} % BN", "RdPu"),
    "magnitude_tuned": ("one-shot magnitude, {} % sparse, trained again", "one-shot {} % tuned", "YlOrRd"),
    "gradual": ("gradual magnitude, {} % sparse", "gradual {} %", "YlGn"),
    "random": ("random at the start, {} % sparse", "random {} %", "Greys"),
    "snip": ("SNIP, {} % sparse", "SNIP {} %", "Blues"),
    "grasp": ("GraSP, {} % sparse", "GraSP {} %", "GnBu"),
    "synflow": ("SynFlow, {} % sparse", "SynFlow {} %", "BuGn"),
    "channels": ("{} % of the channels removed", "channels {} %", "Oranges"),
}
RANGES = {"minmax": "", "mse": ", MSE", "lsq": ", LSQ"}

BITS = sns.light_palette("#7A5C00", as_cmap=True)


def _pruning(family: str) -> tuple[str, str, str]:
    return PRUNING.get(family, (f"{{}} % sparse ({family})", f"{family} {{}} %", "Purples"))


def _words(name: str, form: int) -> str:
    compression = parse(name)
    if compression.activation_bits:
        words = f"W{compression.bits}A{compression.activation_bits}"
    elif compression.bits:
        words = ("{}-bit weights", "{} bits")[form].format(compression.bits)
    if compression.bits:
        return words + RANGES[compression.ranges]
    if compression.label:
        return compression.label
    if compression.sparsity:
        return _pruning(compression.family)[form].format(percent(compression.sparsity))
    return "dense"


def label(name: str) -> str:
    """`imp-0.80` → "80 % sparse (IMP)", `int4` → "4-bit weights", `w4a4` → "W4A4".

    Raises ValueError for any other name.
    """
    return _words(name, 0)


def short_label(name: str) -> str:
    """`imp-0.80` → "IMP 80 %", `int4` → "4 bits": for columns."""
    return _words(name, 1)


def percent(share: float) -> str:
    """0.9 → "90", 0.9487 → "94.9"."""
    return f"{100 * share:.3g}"


def colour(name: str) -> str:
    """Darker with sparsity within a family, or with fewer bits."""
    compression = parse(name)
    if compression.bits:
        return to_hex(BITS(1.1 - 0.1 * compression.bits))
    if compression.sparsity:
        return to_hex(matplotlib.colormaps[_pruning(compression.family)[2]](0.25 + 0.65 * compression.sparsity))
    return "#555555"


def ordered(names: Iterable[str]) -> list[str]:
    """The distinct names: dense, then family by family, each from mild to severe."""

    def key(name: str) -> tuple:
        compression = parse(name)
        severity = compression.sparsity or -(compression.bits or 0)
        finer = -(compression.activation_bits or 0), compression.ranges or ""
        return list(FAMILIES).index(compression.family), severity, finer

    return sorted(set(names), key=key)


MOST = 8  # columns of pictures that are legible side by side
PANELS = 6  # columns of small panels


def representatives(names: Iterable[str]) -> list[str]:
    """Dense, the sparsest one, and every bit width: what a figure shows that has no room for all.

    Of more than `PANELS`, those with trained ranges and rounded activations come first.
    """
    parsed = [parse(name) for name in ordered(names)]
    sparsest = max((c.sparsity or 0 for c in parsed), default=0)
    first = next((c.name for c in parsed if c.sparsity and c.sparsity == sparsest), None)
    chosen = [c.name for c in parsed if c.family == "dense" or c.name == first]
    quantized = sorted((c for c in parsed if c.bits), key=lambda c: (c.ranges != "lsq", c.activation_bits is None))
    return ordered([*chosen, *[c.name for c in quantized][: PANELS - len(chosen)]])


def shown(names: Iterable[str]) -> list[str]:
    """All of them, or, of more than `MOST`, `representatives`."""
    names = ordered(names)
    return names if len(names) <= MOST else representatives(names)
