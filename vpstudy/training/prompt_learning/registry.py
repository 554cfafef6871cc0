"""Registry of text prompters, the cells of the qprompt study: one file and one line each. Free of torch."""

from vpstudy.training.prompt_learning.prompters import (
    cocoop,
    coop,
    forms,
    kgcoop,
    matched_noise,
    noise,
    prograd,
    promptsrc,
    qcoop,
    quantizers,
    references,
    regularised,
    tcp,
    zero_shot,
)
from vpstudy.training.prompt_learning.prompters.base import Prompter

PROMPTERS: dict[str, Prompter] = {
    "zero_shot": zero_shot.PROMPTER,
    "references": references.PROMPTER,
    "coop": coop.PROMPTER,
    "forms": forms.PROMPTER,
    "cocoop": cocoop.PROMPTER,
    "kgcoop": kgcoop.PROMPTER,
    "prograd": prograd.PROMPTER,
    "promptsrc": promptsrc.PROMPTER,
    "tcp": tcp.PROMPTER,
    "qcoop": qcoop.PROMPTER,
    "quantizers": quantizers.PROMPTER,
    "noise": noise.PROMPTER,
    "matched_noise": matched_noise.PROMPTER,
    "regularised": regularised.PROMPTER,
}
