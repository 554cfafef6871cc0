"""CoOp in its other forms (Zhou et al., IJCV 2022): the class name in the middle, and a context for each class."""

from dataclasses import replace

from vpstudy.training.prompt_learning.prompters.base import Prompter, Variant


def arms(trial):
    # `used` is what other texts take, and these contexts serve no others.
    yield replace(trial.trained("middle", Variant(middle=True)), used=None)
    yield replace(trial.trained("specific", Variant(class_specific=True)), used=None)


PROMPTER = Prompter(
    "CoOp in other forms",
    arms,
    arm_labels={"middle": "CoOp, name in the middle", "specific": "CoOp, context of each class"},
)
