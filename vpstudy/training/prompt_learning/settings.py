"""Settings of a small CLIP's pretraining, and of text prompts that are learned for it (arXiv 2407.10704)."""

from typing import Annotated

from pydantic import AfterValidator, Field

from vpstudy.settings import AXIS, Positive, Rate, Seed, Share, Strict, increasing

Bits = Annotated[int, Field(ge=1, le=8)]


class ClipSource(Strict):
    """Pretraining of a small CLIP on captioned glyphs."""

    steps: Positive
    batch: Positive
    learning_rate: Rate  # of all but the image tower's own weights
    image_share: Share  # of that rate, for the image tower
    weight_decay: Share
    width: Positive  # of the text tower
    heads: Positive
    layers: Positive
    embed: Positive  # width of the space of both towers
    held_out: Annotated[int, Field(ge=100)]


class PromptLearning(Strict):
    seeds: Annotated[list[Seed], *AXIS]
    shots: Positive  # training pictures per base class
    validation_per_class: Annotated[int, Field(ge=2)]
    n_context: Positive  # context vectors
    words: str | None  # that they start from; null: drawn at random
    epochs: Positive
    batch: Positive
    learning_rate: Rate  # SGD with momentum 0.9, one epoch of warm-up, then a cosine
    weight_decay: Share
    strong_decay: Share  # of the control that decays more
    evaluations: Positive  # evenly spaced epochs at which base and new are measured
    cocoop_epochs: Positive
    cocoop_batch: Positive
    kgcoop_weight: Annotated[float, Field(ge=0)]
    prograd_share: Share  # of the conflicting part of the gradient that is taken out
    bits: Annotated[list[Bits], *AXIS, AfterValidator(increasing)]
    control_bits: Annotated[list[Bits], *AXIS, AfterValidator(increasing)]  # of other codebooks
    interval: Positive  # steps before adaptive clustering compares again
    threshold: Annotated[float, Field(ge=0)]  # KL divergence above which it fits anew
    noise: Annotated[list[Annotated[float, Field(gt=0)]], *AXIS]  # in units of the prompt's initial deviation
