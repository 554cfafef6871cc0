"""How many pictures and classes the targets have, as published: for estimates, before any picture is fetched."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from vpstudy import paths


@dataclass(frozen=True)
class Size:
    """Classes, pictures outside of the test set, and pictures in it; whether that is known."""

    classes: int
    pool: int
    test: int
    known: bool = True


# Where a set has no test set of its own, a fifth of each class is taken for one, as by default.
SIZES = {
    "digits": Size(10, 1_197, 600),
    "textures": Size(12, 960, 600),
    "faces": Size(2, 100, 100),
    "letters": Size(43, 1_720, 860),
    "cifar10": Size(10, 50_000, 10_000),
    "cifar100": Size(100, 50_000, 10_000),
    "svhn": Size(10, 73_257, 26_032),
    "gtsrb": Size(43, 26_640, 12_630),
    "dtd": Size(47, 3_760, 1_880),
    "flowers": Size(102, 2_040, 6_149),
    "eurosat": Size(10, 21_600, 5_400),
    "pets": Size(37, 3_680, 3_669),
    "caltech": Size(101, 6_942, 1_735),
    "food": Size(101, 75_750, 25_250),
    "sun": Size(397, 87_003, 21_751),
    "aircraft": Size(100, 6_667, 3_333),
    "imagenet": Size(1000, 100_000, 10_000),
    "cars": Size(196, 8_144, 8_041),
    "tiny_imagenet": Size(200, 100_000, 10_000),
    "ucf": Size(101, 9_537, 3_783),
}


def size_of(target: str, declared: Mapping[str, object]) -> Size:
    """As published, or, of a target that is `declared` by the reader, by its split if there is one.

    What is not known is taken for as large as CIFAR-10.
    """
    if target in declared and (path := paths.SPLITS / f"{target}.json").exists():
        classes = json.loads(path.read_text(encoding="utf-8"))["classes"]
        return Size(len(classes), *(sum(each[part] for each in classes) for part in ("pool", "test")))
    assumed = replace(SIZES["cifar10"], known=False)
    return assumed if target in declared else SIZES.get(target, assumed)
