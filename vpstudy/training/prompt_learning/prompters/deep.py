"""Deep text prompts: MaPLe (Khattak et al., CVPR 2023) without its picture side, also trained through a codebook.

Blocks of the text tower have prompts of their own, in place of the states of those before. Where the pictures' tower is
no transformer, this is what is left of MaPLe, and of QMaPLe (arXiv 2407.10704) at its four bits. All vectors share one
codebook.
"""

from pydantic import Field

from vpstudy.settings import Positive, Strict
from vpstudy.training.prompt_learning.prompters.base import Bits, Prompter, Variant


class Settings(Strict):
    depth: Positive = 4  # blocks that prompts enter, the first at the words; published: 9 of 12
    bits: Bits = Field([4])


def arms(trial):
    yield trial.trained("full", Variant(depth=trial.own.depth))
    for bits in trial.own.bits:
        yield trial.trained(f"qat-{bits}", Variant(depth=trial.own.depth, quantize=trial.settings.quantizer(bits)))


PROMPTER = Prompter("deep text prompts", arms, Settings, arm_labels={"qat": "deep text prompts, {bits}"})
