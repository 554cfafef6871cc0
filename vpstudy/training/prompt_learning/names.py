"""What the classes of a target are called in a prompt."""

from vpstudy.data import captions

NAMES = {"digits": [captions.name(digit) for digit in "0123456789"]}


def of_classes(target: str, class_names: list[str]) -> list[str]:
    """Names in the order of the classes; as the target has them, where this file says nothing else."""
    return NAMES.get(target, [name.replace("_", " ") for name in class_names])
