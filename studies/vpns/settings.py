"""Parameters of the vpns study (arXiv 2312.01397): masks found with prompts, against other ways to find them."""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import ValidationError, model_validator

from studies.axes import Backbones, Targets
from vpstudy.models.architectures import own
from vpstudy.settings import AXIS, Strict, one_of
from vpstudy.training.mask_search.methods import METHODS
from vpstudy.training.mask_search.settings import MaskSearch

MOST_CHANNELS = 0.9  # share of them that may go

PrunerName = Annotated[str, one_of(METHODS, "pruner", "vpstudy/training/mask_search/methods.py")]


class Axes(Strict):
    backbones: Backbones
    targets: Targets
    pruners: Annotated[list[PrunerName], *AXIS]


class Vpns(Strict):
    axes: Axes
    settings: MaskSearch

    @model_validator(mode="after")
    def _fit(self):
        problems = []
        if "dense" not in self.axes.pruners:
            problems.append("pruners: 'dense' is missing, and pruned networks are measured against it")
        problems += [
            f"imp_rounds: {sparsity}, which is in sparsities, is missing"
            for sparsity in self.settings.sparsities
            if "imp" in self.axes.pruners and sparsity not in self.settings.imp_rounds
        ]
        for name in self.axes.pruners:
            try:
                self.settings.changed(METHODS[name].change)
            except ValidationError as error:
                said = "; ".join(each["msg"].removeprefix("Value error, ") for each in error.errors())
                problems.append(f"pruners: {name} does not fit: {said}")
        if any(METHODS[name].role == "ablation" for name in self.axes.pruners) and not self.settings.control_sparsities:
            problems.append("control_sparsities: pruners that are ablations need at least one")
        if any(METHODS[name].role == "channels" for name in self.axes.pruners) and not self.settings.channel_ratios:
            problems.append("channel_ratios: pruners that prune channels need at least one")
        if problems:
            raise ValueError("; ".join(problems))
        return self


def problems(p: Any) -> Iterator[str]:
    """What a cell of this study would fail on while it runs."""
    settings, pruners = p.vpns.settings, p.vpns.axes.pruners
    if not p.vpns.axes.backbones:
        return
    stages = len(settings.imp_rounds) + 1
    if "imp" in pruners and settings.steps < stages:
        yield (
            f"vpns.settings.steps: {settings.steps}: IMP cuts them into {stages} (imp_rounds and tuning); "
            f"give at least {stages}"
        )
    inner = min(METHODS[name].change.get("inner", settings.inner) for name in pruners)
    if settings.shift >= inner:
        yield f"vpns.settings.shift: {settings.shift}: must be below the side of the picture ({inner})"
    if any(ratio > MOST_CHANNELS for ratio in settings.channel_ratios):
        given = settings.channel_ratios
        yield f"vpns.settings.channel_ratios: {given}: at most {MOST_CHANNELS:g}, or whole layers would go"
    channels = [pruner for pruner in pruners if METHODS[pruner].role == "channels"]
    for name in p.vpns.axes.backbones:
        if name in p.weights.root:
            continue  # what others take is known to their libraries, which are slow to load: the stage `weights` tells
        kind = own(name)
        if channels and not kind.batchnorm:
            yield (
                f"vpns.axes.pruners: {channels[0]!r} prunes by BatchNorm factors, and {name!r} has none: "
                "take out the one or the other"
            )
        if settings.canvas != p.source.size and not kind.any_size:
            yield f"vpns.settings.canvas: {settings.canvas}: {name!r} takes only source.size ({p.source.size})"
