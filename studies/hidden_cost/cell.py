"""The transfer cell: every method, budget and seed on one compressed source checkpoint and one target."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from studies.backbones.obtain import obtain
from studies.cells import Cell
from studies.parameters import Parameters
from vpstudy.compression.compressed import Compressed
from vpstudy.models.backbones import Backbone
from vpstudy.models.fused import fused
from vpstudy.progress import track
from vpstudy.runtime import configure
from vpstudy.settings import Budget
from vpstudy.training.controls import CONTROLS
from vpstudy.training.data import TransferData
from vpstudy.training.fine_tuning import fine_tuning
from vpstudy.training.linear_probe import linear_probe
from vpstudy.training.outcome import Outcome
from vpstudy.training.visual_prompting import visual_prompting


class TransferCell:
    """Adapts `compression` of `backbone` to `target` by every method and control in the parameters.

    `compressed` is that network, if it is at hand.
    """

    def __init__(
        self,
        parameters: Parameters,
        backbone: str,
        compression: str,
        target: str,
        checkpoint: int = 0,
        compressed: Compressed | None = None,
    ):
        axes = {"backbone": backbone, "compression": compression, "target": target}
        self.cell = Cell.of("transfer", "hidden_cost", parameters.scale, **axes)
        self.checkpoint, self.settings = checkpoint, parameters.hidden_cost.settings
        self.runtime = configure(parameters.execution)
        self.compressed = compressed or obtain(parameters, backbone, compression, checkpoint)
        self.compressed.backbone.to(self.runtime.device)
        self.frozen = fused(self.compressed.backbone, self.settings.linear_probe.size)  # for prompts and probes
        self.data = TransferData(target, self.settings.validation_per_class, self.runtime, parameters.pictures)
        self.tuning: list[dict] = []  # per arm, the validation result of each learning rate

    def mapping_only(self) -> list[Outcome]:
        """A label mapping and nothing learned."""
        return self._every("mapping_only", visual_prompting, self.frozen)

    def visual_prompting(self, method: str = "visual_prompting") -> list[Outcome]:
        """A prompt, as `method` or the control of that name says."""
        return self._every(method, visual_prompting, self.frozen)

    def linear_probe(self, method: str = "linear_probe") -> list[Outcome]:
        """A new last layer."""
        return self._every(method, linear_probe, self.frozen)

    def fine_tuning(self) -> list[Outcome]:
        """All weights, at the compressions that the parameters name."""
        whole = self.compressed
        return self._every("fine_tuning", fine_tuning, whole.backbone, constrain=whole.constrain)

    def controls(self) -> list[Outcome]:
        """Every control, at the compressions that the parameters name."""
        names = dict.fromkeys(method for method, _ in self._arms() if method in CONTROLS)
        return [outcome for name in names for outcome in getattr(self, CONTROLS[name].method)(name)]

    def _arms(self) -> list[tuple[str, Budget]]:
        return self.settings.arms(dict(self.cell.axes)["compression"])

    def _every(self, method: str, learn: Callable[..., Outcome], backbone: Backbone, **more: Any) -> list[Outcome]:
        """`learn` at every budget and seed; the first seed chooses the learning rate on validation, for all seeds."""
        outcomes, (first, *others) = [], self.settings.seeds
        for budget in track([budget for name, budget in self._arms() if name == method], method):
            schedule = self.settings.schedule(method, self.pictures(budget))
            once = partial(learn, backbone, self.data, budget, **more)
            tried = [once(first, schedule.at(rate)) for rate in schedule.learning_rates]
            best = max(tried, key=lambda outcome: outcome.rank)
            if best.steps:
                self.tuning.append({"method": method, "budget": str(budget), "tried": [each.trial for each in tried]})
            outcomes += [best, *(once(seed, schedule.at(best.learning_rate)) for seed in others)]
        return [replace(outcome, method=method) for outcome in outcomes]

    def pictures(self, budget: Budget, part: str = "train") -> int:
        """Number of pictures in "train", "validation" or "test" at a budget."""
        return len(getattr(self.data.split(budget, self.settings.seeds[0]), part))

    def labels(self, part: str, outcome: Outcome) -> np.ndarray:
        """True labels (N,) of "validation" or "test", in the order of the outcome's probabilities."""
        indices = getattr(self.data.split(outcome.budget, outcome.seed), part)
        return self.data.labels[torch.as_tensor(indices)].cpu().numpy()

    def prompted(self, outcomes: list[Outcome]) -> Outcome | None:
        """The run whose prompt is shown: largest budget, first seed that did not diverge."""
        wanted = ("visual_prompting", self.settings.largest_budget, "ok")
        return next((o for o in outcomes if (o.method, o.budget, o.status) == wanted), None)

    def prompt(self, outcome: Outcome | None) -> torch.nn.Module:
        """The learned prompt of a run; without a run, an untrained prompt."""
        prompt = self.settings.visual_prompting.make_prompt(seed=0)
        if outcome:
            learned = {k.removeprefix("prompt."): v for k, v in outcome.artefact.items() if k.startswith("prompt.")}
            prompt.load_state_dict(learned)
        return prompt.eval()
