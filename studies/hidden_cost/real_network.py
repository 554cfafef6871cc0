"""Parameters of the cells that look at a real network beside the small ones."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

from studies.axes import Backbones, CompressionName, Targets
from studies.backbones.checks import without_source
from vpstudy.compression.registry import parse
from vpstudy.settings import AXIS, Strict

KEY = "real_network.axes"


class Axes(Strict):
    backbones: Backbones  # may be empty: then no such cell runs
    compressions: Annotated[list[CompressionName], *AXIS]
    targets: Targets


class Settings(Strict):
    """The rest is as in `hidden_cost.settings`."""

    size: Annotated[int, Field(ge=16, le=512)]  # side of what the network sees, px
    mapping: Literal["random", "frequency", "bayesian", "bayesian_plus"]  # nothing is learned: others would be these


class RealNetwork(Strict):
    axes: Axes
    settings: Settings


def problems(p: Any) -> Iterator[str]:
    """Networks that are no classifiers of outside, and what they cannot be made or measured with."""
    axes = p.real_network.axes
    if not axes.backbones:
        return
    known = [name for name in p.outside if name in p.weights and not p.weights[name].is_clip]
    for name in axes.backbones:
        if name not in known:
            yield f"{KEY}.backbones: {name!r} is no classifier of outside; allowed: {', '.join(known) or 'none'}"
        elif name in p.backbones:
            yield f"{KEY}.backbones: {name!r} is in backbones, too, whose cells adapt it in full; take it out of one"
    if "dense" not in axes.compressions:
        yield f"{KEY}.compressions: 'dense' is missing, and every change is measured against it"
    for name in axes.compressions:
        if problem := without_source(p, parse(name)):
            yield f"{KEY}.compressions: {name!r} {problem}"
    if p.recovery.pictures in axes.targets:
        yield (
            f"recovery.pictures: {p.recovery.pictures!r} is a target of real_network, and a network that has seen it is"
            " not transferred to it; give another set"
        )
