"""Registry of compression families. Imports no torch: the command line checks names with it."""

import re
from pkgutil import resolve_name

from vpstudy.compression.family import MAX_SPARSITY, MIN_SPARSITY, Compression

# One line per family: its file in `families` and the class in it. Figures and tables keep this order.
FAMILIES: dict[str, type[Compression]] = {
    (found := resolve_name(f"vpstudy.compression.families.{place}")).family: found
    for place in (
        "dense:Dense",
        "dense_tuned:DenseTuned",
        "dense_distilled:DenseDistilled",
        "imp:Imp",
        "global_magnitude:GlobalMagnitude",
        "magnitude:Magnitude",
        "magnitude_bn:MagnitudeBn",
        "magnitude_tuned:MagnitudeTuned",
        "magnitude_distilled:MagnitudeDistilled",
        "reconstructed:Reconstructed",
        "reconstructed_distilled:ReconstructedDistilled",
        "nm:StructuredSparsity",
        "int:Integers",
        "w:WeightsAndActivations",
        "file:File",
        "noise:Noise",
    )
}


def parse(name: str) -> Compression:
    """Parse a name, e.g. "dense", "imp-0.90", "w4a4-mse". Raises ValueError with the reason and all allowed forms."""
    known = re.fullmatch(r"([a-z_]+)(.*)", name) if isinstance(name, str) else None
    try:
        if known is None or known[1] not in FAMILIES:
            raise ValueError("unknown compression")
        return FAMILIES[known[1]].read(name, known[2])
    except ValueError as error:
        raise ValueError(f"{name}: {error}; allowed: {allowed_names()}") from None


def allowed_names() -> str:
    """All allowed forms of a name, for messages."""
    forms = ", ".join(family.form for family in FAMILIES.values())
    return f"{forms} (sparsities from {MIN_SPARSITY} to {MAX_SPARSITY})"
