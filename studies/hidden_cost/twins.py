"""Semantic twins: source characters that a reader could take for a target class. Defined for digits only."""

TWINS: dict[str, dict[str, str]] = {
    # target: {target class: its twins}
    "digits": {
        "0": "0Oo",
        "1": "1liι",
        "2": "2Z",
        "3": "3",
        "4": "4",
        "5": "5S",
        "6": "6bσ",
        "7": "7",
        "8": "8B",
        "9": "9gq",
    },
}


def share(target: str, classes: list[str], mapped: list[str], evidence: list[float]) -> float:
    """Share of `classes` mapped to a twin.

    `mapped` holds their source classes in the same order and `evidence` the count behind each: a twin without evidence
    does not count, since its class would have got any source class.
    """
    pairs = zip(classes, mapped, evidence, strict=True)
    return sum(count > 0 and source in TWINS[target][name] for name, source, count in pairs) / len(classes)
