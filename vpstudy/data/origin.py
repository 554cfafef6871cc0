"""Where the pictures of a target that is not embedded come from: an entry of `pictures` in params.yaml."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from vpstudy import paths
from vpstudy.data.registry import EMBEDDED, KNOWN, TORCHVISION
from vpstudy.settings import ParameterError, Positive, Seed, Strict, one_of, unique

LAYOUT = "train/CLASS/*.jpg and test/CLASS/*.jpg, or CLASS/*.jpg alone, which is split by a seed"


def _not_embedded(alias: str) -> str:
    if alias in EMBEDDED:
        raise ValueError(f"an embedded target has this name; taken: {', '.join(EMBEDDED)}")
    return alias


class Origin(Strict):
    """A folder (or zip) of class folders, or a class of torchvision.

    A set without a test set is split, class by class, according to `test_share` and `seed`.
    """

    imagefolder: str | None = None  # a path from the project's root, which may begin with $NAME, or a .zip
    torchvision: Annotated[str, one_of(TORCHVISION, "data set", "vpstudy/data/registry.py")] | None = None
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    seed: Seed = 0
    test_pictures: Positive | None = None  # upper bound of the test set, stratified
    train_per_class: Positive | None = None  # upper bound of each class outside the test set
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None  # of a zip
    # In the order of the folders; or the path of a text file, one name a line.
    class_names: str | Annotated[tuple[str, ...], Field(strict=False)] | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.imagefolder is None) == (self.torchvision is None):
            raise ValueError("give one of imagefolder and torchvision, and only one")
        if self.sha256 and not (self.imagefolder or "").endswith(".zip"):
            raise ValueError("sha256 is the checksum of a .zip; a folder has none, and torchvision has its own")
        return self

    @property
    def location(self) -> Path:
        """The path of the image folder, variables and `~` resolved; a variable that is not set stays in it."""
        return paths.ROOT / os.path.expandvars(os.path.expanduser(self.imagefolder or ""))

    def missing(self, alias: str) -> str:
        """Why the image folder of `alias` cannot be read on this machine, and how to get it; "" where it can."""
        if self.torchvision or (self.location.is_file() if self.location.suffix == ".zip" else self.location.is_dir()):
            return ""
        unset = re.search(r"\$\{?\w+\}?", str(self.location))
        kind = "file" if self.location.suffix == ".zip" else "folder"
        problem = f"the variable {unset[0]} is not set" if unset else f"there is no {kind} {self.imagefolder}"
        return f"{problem}; {self.advice(alias)}"

    def advice(self, alias: str) -> str:
        """How the pictures of an image folder get to where they are read from."""
        known = KNOWN.get(alias)
        steps = f"{known.steps}; " if known and known.origin.get("imagefolder") == self.imagefolder else ""
        return f"{steps}expected in {self.imagefolder}: {LAYOUT}"


Origins = dict[Annotated[str, Field(pattern=r"^[a-z0-9_]+$"), AfterValidator(_not_embedded)], Origin]
Fetched = Annotated[list[Annotated[str, AfterValidator(_not_embedded)]], AfterValidator(unique)]


def origin_of(alias: str, origins: Mapping[str, Origin]) -> Origin:
    """The entry of `alias` in `origins`, or else in the registry. Raises ParameterError where neither has one."""
    if alias in origins:
        return origins[alias]
    if alias not in KNOWN:
        allowed = ", ".join(dict.fromkeys([*EMBEDDED, *KNOWN, *origins]))
        raise ParameterError(
            f"target {alias!r} is not registered; choose one of {allowed}, or add an entry to pictures in params.yaml"
        )
    return Origin(**KNOWN[alias].origin)
