"""QCoOp (arXiv 2407.10704): CoOp trained through a codebook."""

from vpstudy.training.prompt_learning.prompters.base import Prompter, Variant


def arms(trial):
    for bits in trial.settings.bits:
        yield trial.trained(f"qat-{bits}", Variant(quantize=trial.settings.quantizer(bits)))


PROMPTER = Prompter("QCoOp", arms, arm_labels={"qat": "QCoOp, {bits}"}, follow=True)
