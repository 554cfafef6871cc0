"""Control: CoOp with Gaussian noise that stays as large as the error of one bit, fresh at each step or fixed.

The error of a codebook grows with the deviation of the prompt, and so does this noise; that of `noise` does not.
"""

from vpstudy.training.prompt_learning.prompters.base import Noise, Prompter, Variant


def arms(trial):
    for name in ("fresh", "fixed"):
        noise = Noise(trial.error(bits=1), trial.seed_for("noise"), fixed=name == "fixed", grows=True)
        yield trial.trained(name, Variant(noise=noise))


PROMPTER = Prompter(
    "CoOp with noise as large as one bit's error",
    arms,
    role="control",
    arm_labels={"fresh": "noise of one bit's error, fresh", "fixed": "noise of one bit's error, kept"},
)
