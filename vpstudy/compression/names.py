"""What a compression's name says: `parse("imp-0.90")` is family imp at a sparsity of 0.90.

Names are identities: they stand in stage names, file names and results, so a compression has exactly one
spelling (`imp-0.90`, never `imp-0.9`). Nothing heavy is imported here: the command line checks names with it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

MIN_SPARSITY, MAX_SPARSITY = 0.01, 0.99
MIN_BITS, MAX_BITS = 2, 8
SPARSITY_RULE = (
    f"sparsity must be in [{MIN_SPARSITY}, {MAX_SPARSITY}] written with two decimals, or three where the third is not 0"
)
BITS_RULE = f"the number of bits must be a whole number from {MIN_BITS} to {MAX_BITS}"
RANGES = ("minmax", "mse", "lsq")


@dataclass(frozen=True)
class Compression:
    """One compression, as its name says.

    Attributes
    ----------
    sparsity
        Nominal share of pruned weights (of pruned channels in each layer for `channels`).
    bits, activation_bits
        Width of a weight, and of what enters a layer; None where it stays in floating point.
    ranges
        Where a quantizer's range comes from: "minmax", "mse" (least squared error) or "lsq" (learned with the weights).
    label
        Words of its own for figures; of a checkpoint from outside its key in the parameters.
    """

    name: str
    family: str
    sparsity: float | None = None
    bits: int | None = None
    activation_bits: int | None = None
    ranges: str | None = None
    label: str | None = None


def sparsity_text(sparsity: float) -> str:
    """The one spelling of a sparsity in names: 0.9 → "0.90", 0.488 → "0.488".

    Raises ValueError outside [0.01, 0.99] and for more than three decimals.
    """
    text = f"{sparsity:.3f}"
    if not MIN_SPARSITY <= sparsity <= MAX_SPARSITY or float(text) != sparsity:
        raise ValueError(f"{SPARSITY_RULE}, got {sparsity}")
    return text.removesuffix("0")


def _nothing(written: str) -> dict:
    if written:
        raise ValueError("nothing may follow this name")
    return {}


def _recovered(written: str) -> dict:
    return _nothing(written) | {"label": "dense, recovered"}


def _recovered_sparsity(written: str) -> dict:
    found = _sparsity(written)
    return found | {"label": f"recovered {100 * found['sparsity']:.3g} %"}


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
    found = re.fullmatch(r"([^-]*)(-mse)?", written)
    if found is None:
        raise ValueError("after the number of bits only -mse may follow")
    return {"bits": _width(found[1]), "ranges": (found[2] or "-minmax")[1:]}


def _weights_and_activations(written: str) -> dict:
    found = re.fullmatch(r"([^a-]*)a([^-]*)(-mse|-lsq)?", written)
    if found is None:
        raise ValueError("write the bits of weights and of activations, e.g. w4a4, w4a4-mse or w4a4-lsq")
    return {"bits": _width(found[1]), "activation_bits": _width(found[2]), "ranges": (found[3] or "-minmax")[1:]}


def _width(written: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]*", written) or not MIN_BITS <= int(written) <= MAX_BITS:
        raise ValueError(BITS_RULE)
    return int(written)


def _label(written: str) -> dict:
    if not re.fullmatch(r"-[a-z0-9][a-z0-9_]*", written):
        raise ValueError("give the key of an entry of `checkpoints`: lower-case letters, digits and underscores")
    return {"label": written[1:]}


@dataclass(frozen=True)
class Family:
    """A family of compressions: `read` turns what follows its name into fields, or raises ValueError."""

    read: Callable[[str], dict]
    form: str
    description: str


FAMILIES = {
    "dense": Family(_nothing, "dense", "the source weights as they are"),
    "dense_distilled": Family(
        _recovered, "dense_distilled", "the same, trained towards itself: the control of recovery"
    ),
    "imp": Family(_sparsity, "imp-0.80", "magnitude pruning in rounds, rewound to an early step each time"),
    "magnitude": Family(_sparsity, "magnitude-0.90", "the smallest weights of the network pruned at once"),
    "magnitude_bn": Family(_sparsity, "magnitude_bn-0.90", "the same, with new BatchNorm statistics"),
    "magnitude_tuned": Family(_sparsity, "magnitude_tuned-0.90", "the same, then trained again on the source"),
    "magnitude_distilled": Family(
        _recovered_sparsity,
        "magnitude_distilled-0.50",
        "the same, then trained towards dense on other pictures, without labels",
    ),
    "gradual": Family(_sparsity, "gradual-0.90", "the smallest weights pruned bit by bit while training goes on"),
    "random": Family(_sparsity, "random-0.90", "weights pruned by lot at the start, then trained as dense was"),
    "snip": Family(_sparsity, "snip-0.90", "pruned at the start by the effect on the loss, then trained"),
    "grasp": Family(_sparsity, "grasp-0.90", "pruned at the start by the effect on the gradient, then trained"),
    "synflow": Family(_sparsity, "synflow-0.90", "pruned at the start by the flow through paths, then trained"),
    "channels": Family(_sparsity, "channels-0.50", "whole channels removed, then trained again on the source"),
    "int": Family(_bits, f"int{MIN_BITS} … int{MAX_BITS} (-mse)", "weights rounded to so many bits, by channel"),
    "w": Family(
        _weights_and_activations, "w4a4 (-mse, -lsq)", "weights, and the input of each layer, rounded to so many bits"
    ),
    "file": Family(_label, "file-NAME", "a checkpoint from outside, an entry of `checkpoints`"),
}


def parse(name: str) -> Compression:
    """Read a compression's name, e.g. "dense", "imp-0.90", "magnitude-0.90", "int4", "w4a4-mse".

    Raises ValueError naming the value, what is wrong with it, and all allowed forms.
    """
    found = re.fullmatch(r"(w(?=[0-9])|[a-z_]+)(.*)", name) if isinstance(name, str) else None
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
