"""What a compression's name says: `parse("imp-0.90")` is family imp at a sparsity of 0.90.

Names are identities: they stand in stage names, file names and results, so a compression has exactly one
spelling (`imp-0.90`, never `imp-0.9`). Nothing heavy is imported here: the command line checks names with it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

MIN_SPARSITY, MAX_SPARSITY = 0.01, 0.99
MIN_BITS, MAX_BITS = 2, 8
SPARSITY_RULE = f"sparsity must be in [{MIN_SPARSITY}, {MAX_SPARSITY}] written with two decimals"


@dataclass(frozen=True)
class Compression:
    """One compression: `sparsity` is the nominal share of pruned weights, `bits` the width of a weight."""

    name: str
    family: str
    sparsity: float | None = None
    bits: int | None = None


def sparsity_text(sparsity: float) -> str:
    """The one spelling of a sparsity in names: 0.9 → "0.90".

    Raises ValueError outside [0.01, 0.99] and for more than two decimals.
    """
    text = f"{sparsity:.2f}"
    if not MIN_SPARSITY <= sparsity <= MAX_SPARSITY or float(text) != sparsity:
        raise ValueError(f"{SPARSITY_RULE}, got {sparsity}")
    return text


def _nothing(written: str) -> dict:
    if written:
        raise ValueError("nothing may follow this name")
    return {}


def _sparsity(written: str) -> dict:
    number = re.fullmatch(r"-([0-9]*\.?[0-9]+)", written)
    if number is None:
        raise ValueError(SPARSITY_RULE)
    sparsity = float(number[1])
    spelling = sparsity_text(sparsity)
    if number[1] != spelling:
        raise ValueError(f"{SPARSITY_RULE}: write {spelling} (names are identities, one spelling each)")
    return {"sparsity": sparsity}


def _bits(written: str) -> dict:
    if not re.fullmatch(r"[1-9][0-9]*", written) or not MIN_BITS <= int(written) <= MAX_BITS:
        raise ValueError(f"the number of bits must be a whole number from {MIN_BITS} to {MAX_BITS}")
    return {"bits": int(written)}


@dataclass(frozen=True)
class Family:
    """A family of compressions: `read` turns what follows its name into fields, or raises ValueError."""

    read: Callable[[str], dict]
    form: str
    description: str


FAMILIES = {
    "dense": Family(_nothing, "dense", "the source weights as they are"),
    "imp": Family(_sparsity, "imp-0.80", "magnitude pruning in rounds, rewound to an early step each time"),
    "magnitude": Family(_sparsity, "magnitude-0.90", "the smallest weights of the network pruned at once"),
    "int": Family(_bits, f"int{MIN_BITS} … int{MAX_BITS}", "weights rounded to so many bits, by channel"),
}


def parse(name: str) -> Compression:
    """Read a compression's name, e.g. "dense", "imp-0.90", "magnitude-0.90", "int4".

    Raises ValueError naming the value, what is wrong with it, and all allowed forms.
    """
    found = re.fullmatch(r"([a-z_]+)(.*)", name) if isinstance(name, str) else None
    try:
        if found is None or found[1] not in FAMILIES:
            raise ValueError("unknown compression")
        return Compression(name, found[1], **FAMILIES[found[1]].read(found[2]))
    except ValueError as error:
        raise ValueError(f"{name}: {error}; allowed: {allowed_names()}") from None


def allowed_names() -> str:
    """All allowed forms of a name, in words, for messages."""
    forms = ", ".join(family.form for family in FAMILIES.values())
    return f"{forms} (sparsities from {MIN_SPARSITY} to {MAX_SPARSITY})"
