"""Parameters of recovery by distillation: how a compressed backbone from elsewhere learns from the dense one."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from vpstudy.settings import Positive, Rate, Seed, Share, Strict

SUFFIX = "_distilled"  # of the families of compressions that these are for
TRAINED = ("magnitude_tuned", "gradual", "random", "snip", "grasp", "synflow", "channels")  # on the source


class Distillation(Strict):
    """SGD with momentum, on pictures without labels; and what else a backbone from elsewhere is measured on.

    Ranges of activations come of the same pictures, and on the test pictures of that set, which train nothing, a
    compressed backbone is asked how often it agrees with dense.
    """

    pictures: str  # a target, but none that is measured
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
