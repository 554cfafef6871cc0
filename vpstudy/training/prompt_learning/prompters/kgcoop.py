"""KgCoOp (Yao et al., CVPR 2023): CoOp with a penalty on the distance to the hand-written texts."""

from typing import Annotated

from pydantic import Field

from vpstudy.settings import Strict
from vpstudy.training.prompt_learning.prompters.base import Prompter, Variant


class Settings(Strict):
    weight: Annotated[float, Field(ge=0)] = 8.0  # of the penalty


def pulled(weight: float):
    """The loss of a `Step`: cross-entropy, and `weight` times one minus the mean cosine to the hand-written texts."""

    def loss(step):
        return step.loss + weight * (1 - (step.texts * step.task.hand_written["base"]).sum(1)).mean()

    return loss


def arms(trial):
    yield trial.trained("full", Variant(loss=pulled(trial.own.weight)))


PROMPTER = Prompter("KgCoOp", arms, Settings)
