"""CoCoOp (Zhou et al., CVPR 2022): a small network shifts the context by the features of each picture."""

from pydantic import Field

from vpstudy.settings import Positive, Strict
from vpstudy.training.prompt_learning.prompters.base import Prompter, Variant


class Settings(Strict):
    """Few steps, since they are expensive: each picture has its own texts."""

    epochs: Positive = 10
    batch: Positive = 8
    # A target with more base classes has no arm: pictures × classes texts would pass the encoder.
    most_classes: Positive = Field(1000, exclude_if=lambda given: given == 1000)


def arms(trial):
    changes = trial.own.model_dump(exclude={"most_classes"})
    if len(trial.task.base_names) <= trial.own.most_classes:
        yield trial.trained("full", Variant(network="MetaNetwork", changes=changes))


PROMPTER = Prompter("CoCoOp", arms, Settings)
