"""Parameters of the source backbones: pretraining, and the one run of iterative pruning that follows it."""

from typing import Annotated

from pydantic import AfterValidator, Field

from vpstudy.parameters.base import Positive, Rate, Seed, Share, Strict, increasing


def _two_decimals(sparsity: float) -> float:
    if round(sparsity, 2) != sparsity:
        raise ValueError("write a sparsity with two decimals at most, as it stands in names (imp-0.80)")
    return sparsity


Sparsity = Annotated[float, Field(gt=0, lt=1), AfterValidator(_two_decimals)]


class Source(Strict):
    """Pretraining on rendered glyphs: AdamW with a one-cycle schedule."""

    seed: Seed
    size: Positive  # side of a picture, px
    steps: Positive
    batch: Positive
    learning_rate: Rate
    weight_decay: Share
    held_out: Annotated[int, Field(ge=100)]  # pictures that upstream accuracy and calibration are measured on


class Imp(Strict):
    """Iterative magnitude pruning: the sparsity after each round, and the pretraining step to rewind to.

    Each round trains for the rest of the source's own schedule, so that dense and sparse differ in density alone.
    """

    rounds: Annotated[list[Sparsity], Field(min_length=1), AfterValidator(increasing)]
    rewind_step: Positive
