"""Semantic twins: the source classes that look like a target class to a reader. Glyphs have them for digits only."""

TWINS: dict[str, dict[str, str]] = {
    # target: {target class: the characters that may stand for it}
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


def share(target: str, classes: list[str], mapped: list[str]) -> float:
    """The share of the target's `classes` whose source class, in the same place of `mapped`, is a twin."""
    return sum(source in TWINS[target][name] for name, source in zip(classes, mapped, strict=True)) / len(classes)
