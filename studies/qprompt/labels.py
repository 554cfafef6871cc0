"""Arms of the qprompt study and their labels."""

from vpstudy.training.prompt_learning.registry import PROMPTERS

Arm = tuple[str, str]  # prompter, arm
ZERO_SHOT = "zero-shot"  # the untrained arm of prompts for every class
FEWEST = 1  # bits of QCoOp as published
COOP, COCOOP, KGCOOP, PROGRAD = (("coop", "full"), ("cocoop", "full"), ("kgcoop", "full"), ("prograd", "full"))
TCP, PROMPTSRC = ("tcp", "full"), ("promptsrc", "full")
MAPLE, QMAPLE = ("maple", "full"), ("qmaple", "qat-4")  # the latter at the bits as published
DEEP, QDEEP = ("deep", "full"), ("qdeep", "qat-4")  # their text sides
MULTIMODAL = {
    "maple": {"full": "MaPLe", "ptq": "MaPLe, then {bits}"},
    "qmaple": {"qat": "QMaPLe, {bits}"},
    "deep": {"full": "deep text prompts", "ptq": "deep text prompts, then {bits}"},
    "qdeep": {"qat": "deep text prompts through a codebook, {bits}"},
}


def qat(bits: int) -> Arm:
    return "qcoop", f"qat-{bits}"


def ptq(bits: int) -> Arm:
    return "coop", f"ptq-{bits}"


def words(arm: Arm) -> str:
    """Label of an arm, such as "QCoOp, 1 bit"."""
    prompter, name = arm
    if prompter == "few_shot":
        name, _, shots = name.partition(" of ")
        return f"{words(('coop' if name == 'full' else 'qcoop', name))}, {shots} a class"
    labels = MULTIMODAL.get(prompter) or {"full": PROMPTERS[prompter].label} | PROMPTERS[prompter].arm_labels
    kind, _, level = name.partition("-")
    label = labels.get(name) or labels.get(kind, name)
    return label.format(level=level, bits=f"{level} bit" + ("s" if level != "1" else ""))


def in_words(arm: str) -> str:
    """Label of an arm of CoOp and QCoOp alone, as `words` gives it."""
    return words(("coop" if arm == "full" else "qcoop", arm))
