"""The hand-written prompt without training: one template, all templates, and its words quantized."""

from vpstudy.training.prompt_learning.prompters.base import Prompter


def arms(trial):
    yield trial.untrained("one")
    yield trial.all_templates("templates")
    for bits in trial.settings.bits:
        yield trial.quantized(f"hand-{bits}", trial.start, bits)


PROMPTER = Prompter(
    "hand-written",
    arms,
    role="reference",
    arm_labels={
        "one": "hand-written, one template",
        "templates": "hand-written, all templates",
        "hand": "hand-written, {bits}",
    },
)
