"""What several tests assert."""

from vpstudy.compression.masks import Mask


def is_subset(one: Mask, other: Mask) -> bool:
    """Whether `other` keeps all that `one` keeps."""
    assert one.keys() == other.keys()
    return not any(bool((kept & ~other[name]).any()) for name, kept in one.items())
