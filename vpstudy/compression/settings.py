"""Parameters of the source backbones and of their compression."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from vpstudy.compression.family import sparsity_text
from vpstudy.settings import Positive, Rate, Seed, Share, Strict, increasing


def _can_be_named(sparsity: float) -> float:
    sparsity_text(sparsity)
    return sparsity


Sparsity = Annotated[float, AfterValidator(_can_be_named)]


class Source(Strict):
    """Pretraining on rendered glyphs: AdamW with a one-cycle schedule."""

    seed: Seed
    checkpoints: Positive  # of each backbone, pretrained from other weights on other pictures: replicates of claims
    size: Positive  # side of a picture, px
    steps: Positive
    batch: Positive
    learning_rate: Rate
    weight_decay: Share
    held_out: Annotated[int, Field(ge=100)]  # pictures for upstream accuracy and calibration


class Compressing(Strict):
    """Parameters of compressions other than iterative pruning."""

    pictures: Annotated[int, Field(ge=1)]  # source pictures for activation ranges, BatchNorm and pruning scores
    recovery_from: Positive  # step of the source schedule at which a compressed network resumes training


class Checkpoint(Strict):
    """A compressed checkpoint from outside: a safetensors file, or its URL with its SHA-256."""

    location: str
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None


class Imp(Strict):
    """Iterative magnitude pruning: the sparsity after each round, and the pretraining step to rewind to.

    Each round trains for the rest of the source's schedule, so that dense and sparse differ only in density.
    """

    rounds: Annotated[list[Sparsity], Field(min_length=1), AfterValidator(increasing)]
    rewind_step: Positive


class Distillation(Strict):
    """How a compressed backbone of `weights` learns from the dense one: SGD with momentum, without labels.

    Activation ranges are measured on the same pictures. Agreement with dense is measured on the test pictures of
    `held_out`, and accuracy if that set has the backbone's classes.
    """

    pictures: str  # a target set that is not measured
    held_out: str  # this or another one
    size: Positive  # side of a picture, px
    steps: Annotated[int, Field(ge=0)]  # optimizer steps
    batch: Positive  # pictures per step
    learning_rate: Rate  # at the start of the cosine
    weight_decay: Share
    batchnorm: Literal["eval", "train"]  # fixed statistics, or those of each batch, with running ones updated
    seed: Seed  # of the order of pictures
