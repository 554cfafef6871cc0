"""What each prompter trains: its arms, as variants of CoOp."""

import torch
from torch import Tensor

from vpstudy.prompts.quantized import Quantizer, Settings
from vpstudy.training.prompt_learning.learning import Variant
from vpstudy.training.prompt_learning.methods import DECAY, EARLY, MATCHED, QUANTIZED_CONTROLS
from vpstudy.training.prompt_learning.settings import PromptLearning


def variants(prompter: str, settings: PromptLearning, start: Tensor, seed: int) -> dict[str, Variant]:
    """The trainings of a prompter by the name of their arm; none of one that trains no text prompt.

    Parameters
    ----------
    start
        The context (M, width) that training starts from: noise is matched to its error at one bit.
    """
    s = settings
    if prompter == "coop":
        return {"full": Variant()}
    if prompter in ("cocoop", "kgcoop", "prograd"):
        return {"full": Variant(prompter)}
    if prompter == "qcoop":
        return {f"qat-{bits}": Variant(quantize=quantizer(s, bits)) for bits in s.bits}
    if prompter == "quantizers":
        own = {
            "uniform": {"scheme": "uniform"},
            "random": {"scheme": "random", "seed": seed},
            "raw": {"normalise": False},
            "never": {"refit": "never"},
            "always": {"refit": "always"},
        }
        return {
            f"{name}-{bits}": Variant(quantize=quantizer(s, bits, **own[name]))
            for bits in s.control_bits
            for name in QUANTIZED_CONTROLS
        }
    if prompter == "noise":
        levels = {f"{level:g}": level for level in s.noise} | {MATCHED: one_bit_error(start)}
        return {
            f"{kind}-{name}": Variant(noise=level, fixed=kind == "fixed")
            for name, level in levels.items()
            for kind in ("fresh", "fixed")
        }
    if prompter == "regularised":
        return {EARLY: Variant(stop_early=True), DECAY: Variant(weight_decay=s.strong_decay)}
    return {}


def quantizer(settings: PromptLearning, bits: int, **changes) -> Settings:
    """The published quantizer at some bits, or changed in one thing."""
    return Settings(bits, interval=settings.interval, threshold=settings.threshold, **changes)


def one_bit_error(start: Tensor) -> float:
    """RMS error of one bit on a context, in units of its deviation; of Gaussian values 0.603 (Max, 1960)."""
    with torch.no_grad():
        error = Quantizer(start, Settings(1))(start) - start
    return float(error.square().mean().sqrt() / start.std(correction=0))
