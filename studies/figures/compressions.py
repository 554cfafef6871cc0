"""Labels, colours and order of compressions in figures."""

from collections.abc import Iterable

import matplotlib
import seaborn as sns
from matplotlib.colors import to_hex

from vpstudy.compression.registry import FAMILIES, parse

BITS = sns.light_palette("#7A5C00", as_cmap=True)


def label(name: str) -> str:
    """`imp-0.80` → "80 % sparse (IMP)", `int4` → "4-bit weights", `w4a4` → "W4A4". ValueError for other names."""
    return parse(name).label


def short_label(name: str) -> str:
    """For columns: `imp-0.80` → "IMP 80 %", `int4` → "4 bits"."""
    return parse(name).short_label


def colour(name: str) -> str:
    """Grey for dense; darker with sparsity within a family, or with fewer bits."""
    compression = parse(name)
    if compression.bits:
        return to_hex(BITS(1.1 - 0.1 * compression.bits))
    if compression.sparsity:
        return to_hex(matplotlib.colormaps[compression.colours](0.25 + 0.65 * compression.sparsity))
    return "#555555"


def ordered(names: Iterable[str]) -> list[str]:
    """Distinct names: dense, then by family, from mild to severe."""

    def key(name: str) -> tuple:
        compression = parse(name)
        severity = compression.sparsity or -(compression.bits or 0)
        finer = -(compression.activation_bits or 0), compression.ranges or ""
        return list(FAMILIES).index(compression.family), severity, finer, name

    return sorted(set(names), key=key)


MOST = 8  # columns of pictures that are legible side by side
PANELS = 6  # columns of small panels


def representatives(names: Iterable[str]) -> list[str]:
    """At most `PANELS`: dense, the sparsest, and bit widths, LSQ and rounded activations first."""
    parsed = [parse(name) for name in ordered(names)]
    sparsest = max((c.sparsity or 0 for c in parsed), default=0)
    first = next((c.name for c in parsed if c.sparsity and c.sparsity == sparsest), None)
    chosen = [c.name for c in parsed if c.family == "dense" or c.name == first]
    quantized = sorted((c for c in parsed if c.bits), key=lambda c: (c.ranges != "lsq", c.activation_bits is None))
    return ordered([*chosen, *[c.name for c in quantized][: PANELS - len(chosen)]])


def shown(names: Iterable[str]) -> list[str]:
    """All names, or `representatives` if there are more than `MOST`."""
    names = ordered(names)
    return names if len(names) <= MOST else representatives(names)
