"""Registry of backbones: a name for the grid, and what timm builds for it. Free of torch, for the command line."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from vpstudy import paths


@dataclass(frozen=True)
class Architecture:
    """A timm model with the input that it expects.

    `mean` and `std` are per RGB channel, for pictures in [0, 1]. `rate` is the share of the learning rate at which all
    of its weights are trained: transformers need a lower one than convolutions. `batchnorm` says whether it has
    BatchNorm, whose factors stand for channels where those are pruned; `any_size` whether it takes pictures of other
    sizes than it was pretrained on; `blocks` how many blocks a transformer has, each of which a prompt may enter, and
    None for anything else.
    """

    timm: str
    arguments: dict[str, Any] = field(default_factory=dict)
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.25, 0.25, 0.25)
    rate: float = 1.0
    batchnorm: bool = True
    any_size: bool = True
    blocks: int | None = None


class Registry(dict[str, Architecture]):
    """The study's own by name; asked for another name, what the section `weights` of `params.yaml` says of it.

    Only the study's own are seen in loops and by `in`.
    """

    def __missing__(self, alias: str) -> Architecture:
        from vpstudy.models.libraries import architecture  # loads torch
        from vpstudy.models.weights import OutsideWeights

        return architecture(OutsideWeights.model_validate(outside()[alias]))


ARCHITECTURES = Registry(
    # A residual network with four blocks and 0.3 M weights: large enough to prune by 20 times, small enough
    # that two cores train it in two minutes. The deep stem of three small convolutions halves the cost of a
    # step against the usual 7 x 7 one, and keeps the detail of 32-pixel pictures.
    cnn=Architecture("resnet10t", {"channels": (16, 32, 64, 128), "stem_width": 8}),
    # A transformer of about the same size (vit.py). At the rate of the network above it would stay at chance.
    # In the steps that the network above needs, two blocks learn more than four, in half the time.
    vit=Architecture("vit_glyph", rate=0.3, batchnorm=False, any_size=False, blocks=2),
)

_checked: ContextVar[dict[str, Any] | None] = ContextVar("weights of the content that is being checked", default=None)


def outside() -> dict[str, Any]:
    """The section `weights` of `params.yaml`: backbones from elsewhere by alias, unchecked."""
    found = _checked.get()
    if found is None and paths.PARAMS.exists():
        content = _content(paths.PARAMS.read_text(encoding="utf-8"))
        found = content.get("weights") if isinstance(content, dict) else None
    return found if isinstance(found, dict) else {}


@lru_cache(maxsize=1)  # every step of a training asks
def _content(text: str) -> Any:
    from vpstudy import yaml12

    return yaml12.load(text)


@contextmanager
def checking(weights: Any) -> Iterator[None]:
    """Names are read by this section `weights` in place of that of `params.yaml` while this is open."""
    token = _checked.set(weights if isinstance(weights, dict) else {})
    try:
        yield
    finally:
        _checked.reset(token)


def read(backbone: str) -> tuple[str, int]:
    """A backbone's name as architecture and replicate: "cnn" is ("cnn", 0), "cnn-r2" is ("cnn", 2).

    Replicates are pretrained, and compressed, anew: from other initial weights, on other pictures. A backbone from
    elsewhere has none.

    Raises ValueError naming what is allowed.
    """
    found = re.fullmatch(r"(.+?)(?:-r([1-9][0-9]*))?", backbone, re.DOTALL)
    if found is not None and found[1] in ARCHITECTURES:
        return found[1], int(found[2] or 0)
    aliases = outside()
    if backbone in aliases:
        return backbone, 0
    others = f", or of weights: {', '.join(map(str, aliases))}" if aliases else ""
    raise ValueError(
        f"no such backbone; allowed: {', '.join(ARCHITECTURES)} (vpstudy/models/architectures.py), or with "
        f"-r1, -r2, … for one pretrained anew, e.g. {next(iter(ARCHITECTURES))}-r1{others}"
    )
