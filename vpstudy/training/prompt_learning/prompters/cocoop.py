"""CoCoOp (Zhou et al., CVPR 2022): a small network shifts the context by the features of each picture."""

from vpstudy.settings import Positive, Strict
from vpstudy.training.prompt_learning.prompters.base import Prompter, Variant


class Settings(Strict):
    """Few steps, since they are expensive: each picture has its own texts."""

    epochs: Positive = 10
    batch: Positive = 8


def arms(trial):
    yield trial.trained("full", Variant(network="MetaNetwork", changes=trial.own.model_dump()))


PROMPTER = Prompter("CoCoOp", arms, Settings)
