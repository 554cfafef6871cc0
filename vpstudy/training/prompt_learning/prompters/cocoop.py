"""CoCoOp (Zhou et al., CVPR 2022): a small network shifts the context by the features of each picture."""

from pydantic import Field, model_validator

from vpstudy.settings import Positive, Strict
from vpstudy.training.prompt_learning.prompters.base import Prompter, Variant


class Settings(Strict):
    """Few steps, since they are expensive: each picture has its own texts. Measuring it costs as much."""

    epochs: Positive = 10
    batch: Positive = 8
    evaluations: Positive | None = Field(None, exclude_if=lambda given: given is None)  # None: as the others
    # It is left out on a target with more base classes.
    most_classes: Positive | None = Field(None, exclude_if=lambda given: given is None)

    @model_validator(mode="after")
    def _evaluations_fit(self):
        if (self.evaluations or 1) > self.epochs:
            raise ValueError(f"evaluations ({self.evaluations}) must not exceed epochs ({self.epochs})")
        return self


def arms(trial):
    own = trial.own.model_dump(exclude={"most_classes"})
    if trial.own.most_classes is None or len(trial.task.base_names) <= trial.own.most_classes:
        yield trial.trained("full", Variant(network="MetaNetwork", changes=own))


PROMPTER = Prompter("CoCoOp", arms, Settings)
