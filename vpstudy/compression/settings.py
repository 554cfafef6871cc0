"""Parameters of the source backbones and of what compresses them."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, RootModel

from vpstudy.compression.family import sparsity_text
from vpstudy.settings import Positive, Rate, Seed, Share, Strict, increasing


def _can_be_named(sparsity: float) -> float:
    sparsity_text(sparsity)
    return sparsity


Sparsity = Annotated[float, AfterValidator(_can_be_named)]


class Source(Strict):
    """Pretraining on rendered glyphs: AdamW with a one-cycle schedule."""

    seed: Seed
    size: Positive  # side of a picture, px
    steps: Positive
    batch: Positive
    learning_rate: Rate
    weight_decay: Share
    held_out: Annotated[int, Field(ge=100)]  # pictures that upstream accuracy and calibration are measured on


class Compressing(Strict):
    """What compressions other than iterative pruning are made with."""

    pictures: Annotated[int, Field(ge=1)]  # source pictures for ranges of activations, BatchNorm and pruning scores
    recovery_from: Positive  # the step of the source schedule from which a compressed network trains on


class Checkpoint(Strict):
    """A compressed checkpoint from outside: a safetensors file, or a URL of one with its SHA-256."""

    location: str
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None


class Checkpoints(RootModel[dict[str, Checkpoint]]):
    """Those that `file-NAME` picks from."""


class Imp(Strict):
    """Iterative magnitude pruning: the sparsity after each round, and the pretraining step to rewind to.

    Each round trains for the rest of the source's own schedule, so that dense and sparse differ in density alone.
    """

    rounds: Annotated[list[Sparsity], Field(min_length=1), AfterValidator(increasing)]
    rewind_step: Positive


class Distillation(Strict):
    """How a compressed backbone of `weights` learns from the dense one: SGD with momentum, without labels.

    Ranges of activations are measured on the same pictures, and agreement with dense on the test pictures of that set.
    """

    pictures: str  # a target, but none that is measured
    size: Positive  # side of a picture, px
    steps: Annotated[int, Field(ge=0)]  # optimizer steps
    batch: Positive  # pictures per step
    learning_rate: Rate  # at the start of the cosine
    weight_decay: Share
    batchnorm: Literal["eval", "train"]  # statistics as they are, or those of each batch, which are learned on the way
    seed: Seed  # of the order of pictures
