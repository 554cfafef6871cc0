"""Control: CoOp with Gaussian noise that stays as large as the error of one bit, fresh at each step or fixed.

The error of a codebook grows with the deviation of the prompt, and so does this noise; that of `noise` does not.
"""

from vpstudy.training.prompt_learning.prompters.base import Prompter, Variant


def arms(trial):
    for name in ("fresh", "fixed"):
        of = {"noise": trial.error(bits=1), "seed": trial.seed_for("noise"), "fixed": name == "fixed"}
        yield trial.trained(name, Variant(**of, grows=True))


PROMPTER = Prompter(
    "CoOp with noise as large as one bit's error",
    arms,
    role="control",
    arm_labels={"fresh": "noise of one bit's error, fresh", "fixed": "noise of one bit's error, kept"},
)
