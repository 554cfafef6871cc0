"""Parameters of the vpns study (arXiv 2312.01397): masks found with prompts, and baselines."""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import ValidationError, model_validator

from studies.axes import Backbones, Targets
from vpstudy.models.architectures import own
from vpstudy.settings import AXIS, Strict
from vpstudy.training.mask_search.methods import METHODS
from vpstudy.training.mask_search.settings import MaskSearch, PrunerName


class Axes(Strict):
    backbones: Backbones
    targets: Targets
    pruners: Annotated[list[PrunerName], *AXIS]


class Vpns(Strict):
    axes: Axes
    settings: MaskSearch

    @model_validator(mode="after")
    def _fit(self):
        pruners, settings, problems = self.axes.pruners, self.settings, []
        roles = {METHODS[name].role for name in pruners}
        if "dense" not in pruners:
            problems.append("pruners: 'dense' is missing, and pruned networks are measured against it")
        for name in pruners:
            try:
                settings.changed(METHODS[name].change)
            except ValidationError as error:
                said = "; ".join(each["msg"].removeprefix("Value error, ") for each in error.errors())
                problems.append(f"pruners: {name} does not fit: {said}")
        if settings.control_pruners != "all":
            absent = [name for name in settings.control_pruners if name not in pruners]
            problems += [f"control_pruners: {name} is not in pruners" for name in absent]
        if "imp" in pruners:
            missing = [sparsity for sparsity in settings.sparsities if sparsity not in settings.imp_rounds]
            problems += [f"imp_rounds: {sparsity}, which is in sparsities, is missing" for sparsity in missing]
            if settings.steps <= len(settings.imp_rounds):
                parts = len(settings.imp_rounds) + 1
                problems.append(f"steps ({settings.steps}): IMP cuts them into {parts} (imp_rounds and tuning)")
        if "ablation" in roles and not settings.control_sparsities:
            problems.append("control_sparsities: pruners that are ablations need at least one")
        if "channels" in roles and not settings.channel_ratios:
            problems.append("channel_ratios: pruners that prune channels need at least one")
        if problems:
            raise ValueError("; ".join(problems))
        return self


def problems(p: Any) -> Iterator[str]:
    """Mismatches between this study and its backbones."""
    settings = p.vpns.settings
    channels = [pruner for pruner in p.vpns.axes.pruners if METHODS[pruner].role == "channels"]
    for name in p.vpns.axes.backbones:
        if name not in p.pretrained:
            continue  # unknown, or of a library that is slow to load: `weights_checks` asks it
        kind = own(name)
        if channels and not kind.batchnorm:
            yield (
                f"vpns.axes.pruners: {channels[0]!r} prunes by BatchNorm factors, and {name!r} has none: "
                "take out the one or the other"
            )
        if settings.canvas != p.source.size and not kind.any_size:
            yield f"vpns.settings.canvas: {settings.canvas}: {name!r} takes only source.size ({p.source.size})"
