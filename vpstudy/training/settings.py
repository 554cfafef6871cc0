"""Settings of visual prompting, linear probing and fine-tuning."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from vpstudy.prompts.label_mapping import MAPPINGS
from vpstudy.prompts.visual.registry import Prompting
from vpstudy.settings import AXIS, Positive, Rate, Share, Strict, one_of


class Schedule(Strict):
    """How long and how fast to train; validation picks among `evaluations` evenly spaced steps."""

    steps: Positive
    batch: Positive
    learning_rates: Annotated[list[Rate], *AXIS]  # validation chooses, with the first seed for all
    evaluations: Positive

    @property
    def learning_rate(self) -> float:
        """The first rate, until validation has chosen."""
        return self.learning_rates[0]

    def at(self, rate: float) -> Self:
        """This schedule with one learning rate."""
        return self.model_copy(update={"learning_rates": [rate]})

    @model_validator(mode="after")
    def _evaluations_fit(self):
        if self.evaluations > self.steps:
            raise ValueError(f"evaluations ({self.evaluations}) must not exceed steps ({self.steps})")
        return self


class VisualPrompting(Schedule, Prompting):
    mapping: Annotated[str, one_of(MAPPINGS, "label mapping", "vpstudy/prompts/label_mapping.py")]
    remaps: Annotated[int, Field(ge=0)]  # evenly spaced steps at which an iterative mapping is estimated again
    epochs: Positive  # of the control fixed_epochs, which trains longer on more data

    @property
    def untrained(self) -> Self:
        """These settings without a training step: the label mapping alone."""
        return self.model_copy(update={"steps": 0, "learning_rates": [0.0]})

    @model_validator(mode="after")
    def _remaps_fit(self):
        if self.remaps >= self.steps:
            raise ValueError(f"remaps ({self.remaps}) must be below steps ({self.steps})")
        return self


class LinearProbe(Schedule):
    size: Positive  # side of the backbone's input, px
    inner: Positive | None  # side of the picture, padded with black, px; null: it fills the input


class FineTuning(Schedule):
    size: Positive
    weight_decay: Share
