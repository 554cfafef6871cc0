"""Parameters of fetched targets: where their pictures come from, by alias."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, RootModel, ValidationError, model_validator

from vpstudy import paths
from vpstudy.data.sources import LAYOUT, SOURCES, TORCHVISION
from vpstudy.data.targets import MODULES, NAMES
from vpstudy.settings import ParameterError, Positive, Seed, Strict, one_of, read, unique


def _not_embedded(alias: str) -> str:
    if alias in MODULES:
        raise ValueError(f"an embedded target has this name; taken: {', '.join(MODULES)}")
    return alias


Alias = Annotated[str, Field(pattern=r"^[a-z0-9_]+$"), AfterValidator(_not_embedded)]


class Pictures(Strict):
    """Where the pictures of one target come from: a folder (or zip) of class folders, or a class of torchvision.

    What has no test set of its own is split by `test_share` and `seed`, each class by itself.
    """

    imagefolder: str | None = None  # a path from the project's root, which may begin with $NAME, or a .zip
    torchvision: Annotated[str, one_of(TORCHVISION, "data set", "vpstudy/data/sources.py")] | None = None
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    seed: Seed = 0
    test_pictures: Positive | None = None  # at most so many in the test set, of each class its share
    train_per_class: Positive | None = None  # at most so many outside the test set
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None  # of a zip
    class_names: str | list[str] | None = None  # in the order of the folders; or a text file, one a line

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, content: Any) -> Any:
        if isinstance(content, dict) and (unknown := [key for key in content if key not in cls.model_fields]):
            raise ValueError(f"unknown key {unknown[0]!r}; allowed: {', '.join(cls.model_fields)}")
        return content

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.imagefolder is None) == (self.torchvision is None):
            raise ValueError("give one of imagefolder and torchvision, and only one")
        if self.sha256 and not (self.imagefolder or "").endswith(".zip"):
            raise ValueError("sha256 is the checksum of a .zip; a folder has none, and torchvision has its own")
        return self

    @property
    def location(self) -> Path:
        """Of the image folder, variables and `~` resolved. Raises ValueError for a variable that is not set."""
        text = os.path.expandvars(os.path.expanduser(self.imagefolder or ""))
        if unset := re.search(r"\$\{?\w+\}?", text):
            raise ValueError(f"the variable {unset[0]} is not set")
        return paths.ROOT / text

    def problem(self) -> str:
        """Why the pictures of an image folder cannot be read, as far as a look tells; "" if they can."""
        if self.torchvision:
            return ""
        try:
            place = self.location
        except ValueError as error:
            return str(error)
        if place.suffix == ".zip":
            return "" if place.is_file() else f"there is no file {self.imagefolder}"
        return "" if place.is_dir() else f"there is no folder {self.imagefolder}"


class AllPictures(RootModel[dict[Alias, Pictures]]):
    """The section `pictures`."""


FetchedName = Annotated[str, one_of(NAMES, "target", "vpstudy/data/sources.py"), AfterValidator(_not_embedded)]
Fetched = Annotated[list[FetchedName], AfterValidator(unique)]


def source_of(alias: str, section: Mapping[str, Any] | None = None) -> Pictures:
    """Where the pictures of `alias` come from: `section`, or else params.yaml, before the registry.

    Raises ParameterError for an alias that neither has, or whose entry is wrong.
    """
    section = read().get("pictures") or {} if section is None else section
    if alias in section:
        try:
            return Pictures.model_validate(section[alias])
        except ValidationError as error:
            raise ParameterError(f"pictures.{alias}: {error.errors()[0]['msg']}") from None
    if alias not in SOURCES:
        raise ParameterError(f"target {alias!r}: no entry of pictures in params.yaml, and none of {', '.join(SOURCES)}")
    keys = ("imagefolder", "torchvision", "test_pictures", "train_per_class")
    return Pictures(**{key: getattr(SOURCES[alias], key) for key in keys})


def advice(alias: str, source: Pictures) -> str:
    """How the pictures of an image folder get to where they are looked for."""
    known = SOURCES.get(alias)
    steps = f"{known.steps}; " if known and known.imagefolder == source.imagefolder else ""
    return f"{steps}expected in {source.imagefolder}: {LAYOUT}"
