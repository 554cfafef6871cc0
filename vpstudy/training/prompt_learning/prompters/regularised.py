"""Control: CoOp with early stopping or strong weight decay."""

from vpstudy.settings import Share, Strict
from vpstudy.training.prompt_learning.prompters.base import Prompter, Variant


class Settings(Strict):
    weight_decay: Share = 0.05


def arms(trial):
    yield trial.trained("early", Variant(stop_early=True))
    yield trial.trained("decay", Variant(changes={"weight_decay": trial.own.weight_decay}))


PROMPTER = Prompter(
    "CoOp, regularised",
    arms,
    Settings,
    role="control",
    arm_labels={"early": "CoOp, stopped early", "decay": "CoOp, strong weight decay"},
)
