"""Parameters of the qprompt study (arXiv 2407.10704): quantized text prompts for CLIP, against their full forms."""

from typing import Annotated

from studies.axes import Backbones, Targets
from vpstudy.settings import AXIS, Strict, one_of
from vpstudy.training.prompt_learning.methods import METHODS
from vpstudy.training.prompt_learning.settings import PromptLearning

PrompterName = Annotated[str, one_of(METHODS, "prompter", "vpstudy/training/prompt_learning/methods.py")]


class Axes(Strict):
    backbones: Backbones
    targets: Targets
    prompters: Annotated[list[PrompterName], *AXIS]


class Qprompt(Strict):
    axes: Axes
    settings: PromptLearning
