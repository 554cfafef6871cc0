"""Origins of fetched targets: entries of `pictures` in params.yaml."""

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
    """Class folders, a zip of them, or a torchvision class; if it has no test set, `test_share` and `seed` split it."""

    imagefolder: str | None = None  # folder or .zip, from the project's root; may begin with $NAME
    torchvision: Annotated[str, one_of(TORCHVISION, "data set", "vpstudy/data/registry.py")] | None = None
    test_share: Annotated[float, Field(gt=0, le=1)] = 0.2  # 1: all, of a set that is only measured
    seed: Seed = 0
    test_pictures: Positive | None = None  # maximum of the test set, stratified
    train_per_class: Positive | None = None  # maximum per class outside the test set
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None  # of a zip
    # In folder order; or the path of a text file with one name per line.
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
        """Path of the image folder with variables and `~` expanded; unset variables remain."""
        return paths.ROOT / os.path.expandvars(os.path.expanduser(self.imagefolder or ""))

    def missing(self, alias: str) -> str:
        """Why the image folder is missing on this machine and how to get it; "" if it is there."""
        is_zip = self.location.suffix.lower() == ".zip"
        if self.torchvision or (self.location.is_file() if is_zip else self.location.is_dir()):
            return ""
        if unset := re.search(r"\$\{?\w+\}?", str(self.location)):
            problem = f"the variable {unset[0]} is not set"
        elif self.location.is_file():
            problem = f"{self.imagefolder} is neither a folder nor a .zip; unpack it"
        else:
            problem = f"there is no {'file' if is_zip else 'folder'} {self.imagefolder}"
        return f"{problem}; {self.advice(alias)}"

    def advice(self, alias: str) -> str:
        known = KNOWN.get(alias)
        steps = f"{known.steps}; " if known and known.origin.get("imagefolder") == self.imagefolder else ""
        return f"{steps}expected in {self.imagefolder}: {LAYOUT}"


Origins = dict[Annotated[str, Field(pattern=r"^[a-z0-9_]+$"), AfterValidator(_not_embedded)], Origin]
Fetched = Annotated[list[Annotated[str, AfterValidator(_not_embedded)]], AfterValidator(unique)]


def origin_of(alias: str, origins: Mapping[str, Origin]) -> Origin:
    """Entry of `alias` in `origins`, else in the registry. Raises ParameterError if neither has it."""
    if alias in origins:
        return origins[alias]
    if alias not in KNOWN:
        allowed = ", ".join(dict.fromkeys([*EMBEDDED, *KNOWN, *origins]))
        raise ParameterError(
            f"target {alias!r} is not registered; choose one of {allowed}, or add an entry to pictures in params.yaml"
        )
    return Origin(**KNOWN[alias].origin)
