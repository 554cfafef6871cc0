"""The transfer cell: every method, budget and seed on one compressed source checkpoint and one target."""

from dataclasses import replace

import numpy as np
import torch

from studies.backbones.obtain import obtain
from studies.cells import Cell
from studies.parameters import Parameters
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
    """Adapts `compression` of `backbone` to `target` by every method and control in the parameters."""

    def __init__(self, parameters: Parameters, backbone: str, compression: str, target: str, checkpoint: int = 0):
        axes = {"backbone": backbone, "compression": compression, "target": target}
        self.cell = Cell.of("transfer", "hidden_cost", parameters.scale, **axes)
        self.checkpoint, self.settings = checkpoint, parameters.hidden_cost.settings
        self.runtime = configure(parameters.execution)
        self.compressed = obtain(parameters, backbone, compression, checkpoint)
        self.compressed.backbone.to(self.runtime.device)
        self.frozen = fused(self.compressed.backbone, self.settings.linear_probe.size)  # for prompts and probes
        self.data = TransferData(target, self.settings.validation_per_class, self.runtime, parameters.pictures)
        self.tuning: list[dict] = []  # per arm, the validation result of each learning rate

    def run(self) -> list[Outcome]:
        """Train every arm; the first seed chooses the learning rate on validation, for all seeds."""
        axes, first = dict(self.cell.axes), self.settings.seeds[0]
        outcomes = []
        for method, budget in track(
            self.settings.arms(axes["compression"]), f"{axes['compression']} on {axes['target']}"
        ):
            rates = self.settings.schedule(method, self.pictures(budget)).learning_rates
            tried = [self.adapt(method, budget, first, rate) for rate in rates]
            best = max(tried, key=lambda outcome: outcome.rank)
            if best.steps:
                self.tuning.append({"method": method, "budget": str(budget), "tried": [each.trial for each in tried]})
            others = self.settings.seeds[1:]
            outcomes += [best, *(self.adapt(method, budget, seed, best.learning_rate) for seed in others)]
        return outcomes

    def adapt(self, method: str, budget: Budget, seed: int, rate: float) -> Outcome:
        """Train one method or control at one learning rate."""
        settings = self.settings.schedule(method, self.pictures(budget)).at(rate)
        how = CONTROLS[method].method if method in CONTROLS else method
        if how in ("mapping_only", "visual_prompting"):
            outcome = visual_prompting(self.frozen, self.data, budget, seed, settings)
        elif how == "linear_probe":
            outcome = linear_probe(self.frozen, self.data, budget, seed, settings)
        else:
            whole, constrain = self.compressed.backbone, self.compressed.constrain
            outcome = fine_tuning(whole, self.data, budget, seed, settings, constrain)
        return replace(outcome, method=method)

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
