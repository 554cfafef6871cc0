"""CoOp (Zhou et al., IJCV 2022): the context learned by cross-entropy, and quantized after training."""

from vpstudy.training.prompt_learning.prompters.base import Prompter


def arms(trial):
    full = trial.trained("full")
    yield full
    for bits in trial.settings.bits:
        yield trial.quantized(f"ptq-{bits}", full.used, bits, reason=full.reason)


PROMPTER = Prompter("CoOp", arms, arm_labels={"ptq": "CoOp, then {bits}"}, follow=True)
