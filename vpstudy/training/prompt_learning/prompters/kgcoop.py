"""KgCoOp (Yao et al., CVPR 2023): CoOp with a penalty on the distance to the hand-written texts."""

from typing import Annotated

from pydantic import Field

from vpstudy.settings import Strict
from vpstudy.training.prompt_learning.prompters.base import Prompter, Variant


class Settings(Strict):
    weight: Annotated[float, Field(ge=0)] = 8.0  # of the penalty


def arms(trial):
    def pulled(step):
        return step.loss + trial.own.weight * (1 - (step.texts * step.task.hand_written["base"]).sum(1)).mean()

    yield trial.trained("full", Variant(loss=pulled))


PROMPTER = Prompter("KgCoOp", arms, Settings)
