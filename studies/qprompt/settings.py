"""Parameters of the qprompt study (arXiv 2407.10704): quantized prompts for CLIP against full ones."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, model_validator

from studies.axes import Backbones, Targets
from vpstudy.models import architectures
from vpstudy.models.weights import is_locked
from vpstudy.settings import AXIS, Positive, Seed, Strict, increasing, one_of
from vpstudy.training.prompt_learning.registry import PROMPTERS
from vpstudy.training.prompt_learning.settings import Bits, Context, MultimodalLearning, PromptLearning

PrompterName = Annotated[str, one_of(PROMPTERS, "prompter", "vpstudy/training/prompt_learning/registry.py")]
# Those of vpstudy/data/shifts.py, which loads torch.
Shift = Literal[
    "blur", "noise", "inverted", "rotated",
    "gaussian_blur-1", "gaussian_blur-3", "gaussian_blur-5",
    "gaussian_noise-1", "gaussian_noise-3", "gaussian_noise-5",
    "contrast-1", "contrast-3", "contrast-5",
    "pixelate-1", "pixelate-3", "pixelate-5",
]  # fmt: skip


class PromptAxes(Strict):
    backbones: Backbones
    targets: Targets
    prompters: Annotated[list[PrompterName], *AXIS]


class Qprompt(Strict):
    axes: PromptAxes
    settings: PromptLearning


class EveryClassAxes(Strict):
    backbones: Backbones  # may be empty: then no such cell runs
    targets: Targets  # prompts learn from all their classes


class _EveryClassSettings(Strict):
    """Settings of prompts for every class; the rest is as in `qprompt`."""

    seeds: Annotated[list[Seed], *AXIS]
    bits: Bits  # of prompts trained through their codebook


class FewShotSettings(_EveryClassSettings):
    shots: Annotated[list[Positive], *AXIS, AfterValidator(increasing)]  # pictures per class
    epochs: list[Positive]  # at each number of `shots`
    context: Context

    @model_validator(mode="after")
    def _fit(self):
        if len(self.epochs) != len(self.shots):
            raise ValueError(f"epochs: {len(self.epochs)} entries for {len(self.shots)} of shots; give one for each")
        return self


class FewShot(Strict):
    axes: EveryClassAxes
    settings: FewShotSettings


class OtherPicturesSettings(_EveryClassSettings):
    shifts: Annotated[list[Shift], *AXIS]  # of the target's own pictures
    others: Targets  # prompts are measured on these without learning

    @model_validator(mode="after")
    def _named_apart(self):
        if same := {"all", *self.shifts} & {*self.others}:
            raise ValueError(f"others: {min(same)!r} is also a shift, or all; give the target another name in pictures")
        return self


class OtherPictures(Strict):
    axes: EveryClassAxes
    settings: OtherPicturesSettings

    @model_validator(mode="after")
    def _fit(self):
        for name in self.axes.targets:
            if name in self.settings.others:
                raise ValueError(
                    f"settings.others: {name!r} is in axes.targets, from which prompts learn; take it out of one"
                )
        return self


class MultimodalAxes(Strict):
    backbones: Backbones  # may be empty: then no such cell runs
    targets: Targets


class Multimodal(Strict):
    axes: MultimodalAxes
    settings: MultimodalLearning


def problems(p: Any) -> Iterator[str]:
    """CLIPs that no stage makes, and prompts that do not fit their towers."""
    yield from _missing_clips(p)
    yield from _depth(p)
    width, heads = p.clip_source.width, p.clip_source.heads
    if width % heads:
        yield f"clip_source.heads: {heads}: must divide clip_source.width ({width})"


def _missing_clips(p: Any) -> Iterator[str]:
    ready = [name for name, entry in p.weights.items() if entry.is_clip and name in p.outside]
    for key, given, maker, allowed in (
        ("clips", p.clips, "pretrained or outside", [*p.pretrained, *p.outside]),
        ("qprompt.axes.backbones", p.qprompt.axes.backbones, "clips", p.clips),
        ("multimodal.axes.backbones", p.multimodal.axes.backbones, "clips", p.clips),
        ("few_shot.axes.backbones", p.few_shot.axes.backbones, "qprompt.axes.backbones", p.qprompt.axes.backbones),
        (
            "other_pictures.axes.backbones",
            p.other_pictures.axes.backbones,
            "qprompt.axes.backbones",
            p.qprompt.axes.backbones,
        ),
    ):
        for name in given:
            if name not in allowed:
                yield f"{key}: {name!r} is not in {maker}; allowed: {', '.join(allowed) or 'none, it is empty'}"
    for name in p.clips:
        if is_locked(p.weights, name) and not p.weights[name].model.startswith("timm/"):
            yield (
                f"clips: {name!r} is {p.weights[name].model}, and sentence encoders are joined to networks of timm "
                "alone; name the same network of timm in weights, or take it out of clips"
            )
    for key, given in (("backbones", p.backbones), ("vpns.axes.backbones", p.vpns.axes.backbones)):
        for name in given:
            if name in ready:
                yield f"{key}: {name!r} is a CLIP, which has no classes of its own; put it into clips"


def _depth(p: Any) -> Iterator[str]:
    """Depth in towers made here; for other towers the command `check` asks their library."""
    own = {name: architectures.own(name).blocks for name in p.multimodal.axes.backbones if name in p.pretrained}
    depth = p.multimodal.settings.depth
    for name, blocks in own.items():
        if blocks is None:
            transformers = [name for name, kind in architectures.ARCHITECTURES.items() if kind.blocks]
            yield (
                f"multimodal.axes.backbones: {name!r} is no transformer, whose blocks such prompts enter; allowed: "
                f"{', '.join(transformers)}"
            )
    towers = {name: blocks for name, blocks in own.items() if blocks}
    if towers:
        towers["the text tower (clip_source.layers)"] = p.clip_source.layers
        name = min(towers, key=towers.__getitem__)
        if depth > towers[name]:
            most = towers[name]
            yield f"multimodal.settings.depth: {depth}: {name} has {most} blocks; allowed: 1 to {most}"
