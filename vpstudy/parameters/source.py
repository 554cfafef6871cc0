"""Parameters of the source backbones: pretraining, and the one run of iterative pruning that follows it."""

from typing import Annotated

from pydantic import AfterValidator, Field

from vpstudy.compression.names import sparsity_text
from vpstudy.parameters.base import Positive, Rate, Seed, Share, Strict, increasing


def _named(sparsities: list[float]) -> list[float]:
    for sparsity in sparsities:
        sparsity_text(sparsity)
    return sparsities


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
    """Iterative magnitude pruning: the sparsity after each round, where to rewind to, how long to retrain."""

    rounds: Annotated[list[float], Field(min_length=1), AfterValidator(increasing), AfterValidator(_named)]
    rewind_step: Positive
    steps: Positive
    learning_rate: Rate
