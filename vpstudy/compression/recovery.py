"""Parameters of recovery by distillation: how a compressed backbone from elsewhere learns from the dense one."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from vpstudy.data.targets import NAMES as TARGETS
from vpstudy.settings import Positive, Rate, Seed, Share, Strict, one_of

SUFFIX = "_distilled"  # of the families of compressions that these are for
TRAINED = ("magnitude_tuned", "gradual", "random", "snip", "grasp", "synflow", "channels")  # on the source


class Distillation(Strict):
    """SGD with momentum, on pictures without labels; and what else a backbone from elsewhere is measured on.

    Ranges of activations come of the same pictures, and on the test pictures of that set, which train nothing, a
    compressed backbone is asked how often it agrees with dense.
    """

    pictures: Annotated[str, one_of(TARGETS, "target", "vpstudy/data/targets.py")]  # no target that is measured
    size: Positive  # side of a picture, px
    steps: Annotated[int, Field(ge=0)]  # optimizer steps
    batch: Positive  # pictures per step
    micro_batch: Positive | None  # pictures in memory at a time, their gradients added up; empty: the whole batch
    learning_rate: Rate  # at the start of the cosine
    weight_decay: Share
    temperature: Annotated[float, Field(gt=0)]  # that divides the logits of both
    feature_weight: Annotated[float, Field(ge=0)]  # of the squared error of features beside the logits; 0: none
    batchnorm: Literal["eval", "train"]  # statistics as they are, or those of each batch, which are learned on the way
    seed: Seed  # of the order of pictures

    @model_validator(mode="after")
    def _micro_batch_fits(self):
        if self.micro_batch is not None and self.micro_batch > self.batch:
            raise ValueError(f"micro_batch ({self.micro_batch}) must not exceed batch ({self.batch})")
        return self


def recovery_problems(content: dict[str, Any]) -> Iterator[str]:
    """Problems between this section and the others, from raw content."""
    recovery, targets = content.get("recovery"), []
    outside, backbones, compressions = (
        content[key] if isinstance(content.get(key), list) else [] for key in ("outside", "backbones", "compressions")
    )
    elsewhere = [name for name in backbones if name in outside]
    own = [name for name in backbones if name not in outside]
    for name in compressions:
        family = str(name).partition("-")[0]
        if family.endswith(SUFFIX) and own:
            yield (
                f"compressions: {name!r} is for backbones in outside, and {own[0]!r} is none, which recovers on its "
                f"source: give {family.removesuffix(SUFFIX)}_tuned, or take {own[0]!r} out of backbones"
            )
        if elsewhere and (family in TRAINED or str(name).endswith("-lsq")):
            yield (
                f"compressions: {name!r} trains on the source, and {elsewhere[0]!r} of backbones is in outside: its "
                f"source is not here; take out the one or the other (magnitude{SUFFIX} learns from dense)"
            )
    for study in ("hidden_cost", "across", "vpns", "qprompt", "protocols"):
        section = content.get(study)
        values = section.get("targets") if isinstance(section, dict) else None
        targets += values if isinstance(values, list) else []
    pictures = recovery.get("pictures") if isinstance(recovery, dict) else None
    if elsewhere and pictures in targets:
        yield (
            f"recovery.pictures: {pictures!r} is a target of the study, and a backbone that has seen it is not "
            "transferred to it; give another set"
        )
