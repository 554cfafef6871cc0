"""The training loop that visual prompting, linear probing and fine-tuning share."""

import math
from collections.abc import Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import nn

from vpstudy.calibration.metrics import debiased_ece
from vpstudy.runtime import Runtime, generator
from vpstudy.training.data import Examples, TransferData, as_float
from vpstudy.training.outcome import Outcome
from vpstudy.training.settings import Schedule


class Learner(nn.Module):
    """Something that maps inputs to target logits and can be trained.

    `kept` names what is learned: the state that validation chooses among, and that is returned.
    """

    def loss(self, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(self(inputs).float(), labels)

    def end_epoch(self) -> None:
        """Called whenever every training example has been seen once more."""

    def kept(self) -> dict[str, torch.Tensor]:
        return self.state_dict()

    def restore(self, kept: dict[str, torch.Tensor]) -> None:
        self.load_state_dict(kept)


class Diverged(Exception):
    """Training left the finite numbers; a result, not a programming error."""


def adam_in_three_stages(
    parameters: Iterable[nn.Parameter], schedule: Schedule
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Adam, its rate divided by ten at 50 % and 72 % of the steps: the paper's shape with another rate and length."""
    optimizer = torch.optim.Adam(parameters, lr=schedule.learning_rate)
    milestones = [round(0.5 * schedule.steps), round(0.72 * schedule.steps)]
    return optimizer, torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones)


def fit(
    learner: Learner,
    data: TransferData,
    inputs: torch.Tensor,
    *,
    method: str,
    test_curves: bool = False,
    budget: int | str,
    seed: int,
    schedule: Schedule,
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler,
) -> Outcome:
    """Train for a fixed number of steps, let validation choose the moment, read the test split once.

    Parameters
    ----------
    inputs
        Every example of the target, (N, ...): uint8 pictures or float features.
    test_curves
        Note accuracy and calibration on the test split at each evaluation too. They choose nothing.

    Returns
    -------
    Outcome
        With status "diverged", the reason and no probabilities if a loss was not finite.
    """
    splits = data.split(budget, seed)
    train, validation, test = (data.examples(inputs, i) for i in (splits.train, splits.validation, splits.test))
    learner.to(data.runtime.device)
    history, best = [], None
    trained = {"learning_rate": schedule.learning_rate, "steps": schedule.steps}
    try:
        for step, (batch, last) in enumerate(_batches(train, schedule, generator("order", seed)), 1):
            learner.train()
            with data.runtime.autocast():
                loss = learner.loss(as_float(batch.inputs), batch.labels)
            if not torch.isfinite(loss):
                raise Diverged(f"the training loss was {loss.item()} at step {step} of {schedule.steps}")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            if last:
                learner.end_epoch()
            if step in _moments(schedule):
                history.append({"step": step, "loss": loss.item(), **_score(learner, validation, data.runtime)})
                if test_curves:
                    history[-1] |= _diagnosed(learner, test, data.runtime)
                if best is None or _rank(history[-1]) > _rank(best[0]):
                    best = history[-1], {k: v.detach().clone() for k, v in learner.kept().items()}
    except Diverged as error:
        return Outcome(method, budget, seed, "diverged", str(error), history=history, **trained)
    learner.restore(best[1])
    try:
        logits = {
            name: _logits(learner, part, data.runtime).cpu().numpy()
            for name, part in (("validation", validation), ("test", test))
        }
    except Diverged as error:
        return Outcome(method, budget, seed, "diverged", str(error), history=history, **trained)
    artefact = {key: value.cpu() for key, value in best[1].items()}
    return Outcome(method, budget, seed, logits=logits, artefact=artefact, history=history, chosen=best[0], **trained)


def _batches(examples: Examples, schedule: Schedule, order: torch.Generator) -> Iterator[tuple[Examples, bool]]:
    """`schedule.steps` batches, reshuffled each epoch; the flag tells the last of an epoch.

    An epoch is cut into as few batches as `schedule.batch` allows, all of one size or one apart: every example is
    seen once, and no step weighs much more than another.
    """
    parts = math.ceil(len(examples) / schedule.batch)
    done = 0
    while done < schedule.steps:
        batches = torch.randperm(len(examples), generator=order).tensor_split(parts)
        for i, indices in enumerate(batches[: schedule.steps - done], 1):
            indices = indices.to(examples.labels.device)
            yield Examples(examples.inputs[indices], examples.labels[indices]), i == len(batches)
            done += 1


def _moments(schedule: Schedule) -> set[int]:
    return {math.ceil(schedule.steps * i / schedule.evaluations) for i in range(1, schedule.evaluations + 1)}


def _rank(entry: dict) -> tuple[float, float]:
    return entry["validation_accuracy"], -entry["validation_nll"]


def _score(learner: Learner, examples: Examples, runtime: Runtime) -> dict[str, float]:
    log_probabilities = _logits(learner, examples, runtime).log_softmax(1)
    correct = (log_probabilities.argmax(1) == examples.labels).float().mean().item()
    nll = F.nll_loss(log_probabilities, examples.labels).item()
    return {"validation_accuracy": correct, "validation_nll": nll}


def _diagnosed(learner: Learner, examples: Examples, runtime: Runtime) -> dict[str, float]:
    probabilities, labels = _logits(learner, examples, runtime).softmax(1).cpu(), examples.labels.cpu()
    correct = (probabilities.argmax(1) == labels).float().mean().item()
    return {"test_accuracy": correct, "test_ece_debiased": debiased_ece(probabilities, labels)}


def _logits(learner: Learner, examples: Examples, runtime: Runtime, batch: int = 256) -> torch.Tensor:
    learner.eval()
    with torch.inference_mode(), runtime.autocast():
        logits = torch.cat([learner(as_float(chunk)).float() for chunk in examples.inputs.split(batch)])
    if not torch.isfinite(logits).all():
        raise Diverged("the logits on held-out pictures are not finite")
    return logits
