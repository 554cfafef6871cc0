"""Section `weights` of the parameters: backbones with weights from outside, by alias."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field, RootModel, model_validator

from vpstudy.models.architectures import ARCHITECTURES
from vpstudy.settings import Positive, Strict

HUB = "hf://"
PUBLISHED = "published"
Factors = Annotated[list[float], Field(min_length=3, max_length=3)]  # R, G, B


def _alias(value: str) -> str:
    if not re.fullmatch("[a-z0-9_]+", value):
        raise ValueError("an alias stands in names and paths; allowed: small letters, digits and _")
    if value in ARCHITECTURES:
        raise ValueError("a backbone of this study has that name (vpstudy/models/architectures.py); give another alias")
    return value


class OutsideWeights(Strict):
    """A model of timm, torchvision or open_clip (a CLIP) by its name there, with a checkpoint.

    `location` is a path, an https URL, `$NAME` for the path in an environment variable, `published/TAG` for the file
    that the library names, or `hf://ORG/REPO[/FILE]` (default: model.safetensors, for open_clip
    open_clip_model.safetensors). Without it, timm's own weights on the hub are used.

    `arguments` go to the constructor. For timm, `dynamic_img_size: true` lets a ViT take other picture sizes by
    interpolating its position embeddings, `strict_img_size: false` a Swin; `img_size` is for weights of that size. For
    open_clip they change the configuration, also of a tower; OpenAI's weights need `quick_gelu: true` or a model whose
    name ends so: without it they load, but perform worse.
    """

    model: Annotated[str, Field(pattern=r"^((timm|torchvision)/[A-Za-z0-9_.]+|open_clip/[A-Za-z0-9_.-]+)$")]
    location: str | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    revision: Annotated[str, Field(pattern="^[0-9a-f]{40}$")] | None = None  # commit on the hub
    arguments: dict[str, Any] = Field(default_factory=dict)
    mean: Factors | None = None  # for pictures in [0, 1]; mean, std and size default to the library's
    std: Factors | None = None
    size: Positive | None = None  # side of a picture, px
    classes: str | None = None  # text file, one name a line; default: ImageNet-1k; a CLIP has none

    @model_validator(mode="before")
    @classmethod
    def _known(cls, given: Any) -> Any:
        for key in given if isinstance(given, dict) else []:
            if key not in cls.model_fields:
                raise ValueError(f"{key!r} is an unknown key; allowed: {', '.join(cls.model_fields)}")
        return given

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
    def published(self) -> bool:
        """Whether the library itself names the file."""
        return self.location is not None and self.location.partition("/")[0] == PUBLISHED


Weights = RootModel[dict[Annotated[str, AfterValidator(_alias)], OutsideWeights]]
