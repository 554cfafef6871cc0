"""TCP (Yao et al., CVPR 2024): a small network makes a prompt for each class of its hand-written text, as in KgCoOp.

The paper puts that prompt into the middle of the text tower, in place of the context's states. Here it is added to the
context at the input, and starts at zero.
"""

from vpstudy.training.prompt_learning.prompters import kgcoop
from vpstudy.training.prompt_learning.prompters.base import Prompter, Variant


def arms(trial):
    yield trial.trained("full", Variant(loss=kgcoop.pulled(trial.own.weight), network="ClassNetwork"))


PROMPTER = Prompter("TCP at the input", arms, kgcoop.Settings)
