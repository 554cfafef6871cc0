"""Networks and prompts of the playground, small enough to make while one waits.

What is trained or fetched lies in `data/models/playground`, which no cell reads.
"""

import contextlib
import io
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from studies.backbones.weights import WeightsCell
from studies.parameters import Parameters, read, validate
from vpstudy import paths
from vpstudy.compression.compressed import Compressed
from vpstudy.compression.family import Pruning, sparsity_text
from vpstudy.compression.registry import FAMILIES, parse
from vpstudy.data import glyphs
from vpstudy.data.registry import EMBEDDED
from vpstudy.models import backbones
from vpstudy.models.architectures import own
from vpstudy.models.backbones import Backbone
from vpstudy.models.fused import fused
from vpstudy.runtime import configure, seed_for
from vpstudy.training.data import TransferData
from vpstudy.training.fit import evenly_spaced, fit
from vpstudy.training.outcome import Outcome
from vpstudy.training.pretraining import train_on_source
from vpstudy.training.settings import VisualPrompting
from vpstudy.training.visual_prompting import PromptedBackbone

CANVAS = {"cnn": 32, "lite0": 96}  # px
RATES = {"cnn": 0.1, "lite0": 0.02}  # Adam
STEPS = 200  # of pretraining the small CNN: half a minute
OTHERS = {name: "faces" if name == "photographs" else "photographs" for name in EMBEDDED}  # in place of Lite0's source

Show = Callable[[str, float, Any], None]  # words, share done, a prompt or None


@cache
def parameters(target: str = "digits") -> Parameters:
    """Those of the scale default, for a network that need not be trained long, and Lite0."""
    content = read(paths.SCALES / "default/params.yaml")
    content["scale"] = "playground"
    content["source"]["steps"] = STEPS
    content["compressing"]["recovery_from"] = content["imp"]["rewind_step"] = STEPS // 2
    content["recovery"] |= {"pictures": OTHERS[target], "held_out": OTHERS[target], "size": CANVAS["lite0"]}
    return validate(content, "params.yaml")


def name_of(family: str, sparsity: float, bits: int) -> str:
    """The name of a compression, e.g. "magnitude-0.90", "int4", "w4a4"."""
    if issubclass(FAMILIES[family], Pruning):
        return f"{family}-{sparsity_text(round(sparsity, 2))}"
    return {"int": f"int{bits}", "w": f"w{bits}a{bits}", "nm": "nm-2of4"}.get(family, family)


def families() -> list[str]:
    """Families that need no training."""
    known = {name: parse(name_of(name, 0.5, 4)) for name, of in FAMILIES.items() if name != "file" and not of.screens}
    return [name for name, each in known.items() if not (each.trains_on_source or each.learns_from_dense)]


def make_dense(p: Parameters, network: str, show: Show) -> None:
    """Train the small CNN, or convert the package's file, unless it is there."""
    place = paths.MODELS / p.scale / network / "source" / "0.safetensors"
    if place.exists():
        return
    if network in p.weights:
        show("reading the package's weights", 0.0, None)
        weights = WeightsCell(p, network)
        backbones.save(weights.load(weights.fetch())[0], place)
        return
    model, runtime = Backbone(own(network), glyphs.class_names, p.source.seed), configure(p.execution, chain=True)

    def after(step: int, _: Any) -> None:
        show("training the small CNN on characters", step / STEPS, None)

    model.to(runtime.device)
    with contextlib.redirect_stderr(io.StringIO()):  # the panel has its own bar
        train_on_source(model, p.source, runtime, stream="pretraining", label=network, after_step=after)
    backbones.save(model, place)


class Watched(PromptedBackbone):
    """Calls `watch` after each step with itself and the share of the batch that it got right."""

    def mapped(self, logits: torch.Tensor) -> torch.Tensor:
        self.answered = super().mapped(logits)
        return self.answered

    def loss(self, pictures: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        loss = super().loss(pictures, labels)
        self.right = (self.answered.argmax(1) == labels).float().mean().item()
        return loss

    def after_step(self) -> None:
        super().after_step()
        self.watch(self)


def learn(
    compressed: Compressed, data: TransferData, budget: int | str, seed: int, settings: VisualPrompting, show: Show
) -> Outcome:
    """As `visual_prompting`, and shows the prompt, accuracy and time left while it trains."""
    backbone, prompt = fused(compressed.backbone, settings.canvas), settings.make_prompt(seed_for("prompt", seed))
    remaps = evenly_spaced(settings.steps, settings.remaps + 1)[:-1]
    learner = Watched(backbone, prompt, settings.mapping, len(data.class_names), seed, remaps).to(data.runtime.device)
    untrained = data.source_logits(backbone, prompt)
    train = data.examples(untrained, data.split(budget, seed).train)
    learner.estimate_mapping(train.inputs, train.labels)
    name, start, done = compressed.compression.name, time.monotonic(), 0

    def watch(now: Watched) -> None:
        nonlocal done
        done += 1
        left = (time.monotonic() - start) / done * (settings.steps - done)
        show(f"{name}: {now.right:.0%} of the last batch right, {left:.0f} s left", done / settings.steps, now.prompt)

    learner.watch = watch
    with torch.no_grad():
        first = learner.mapped(untrained)
    return fit(learner, data, data.pictures(prompt.inner), budget, seed, settings, first)
