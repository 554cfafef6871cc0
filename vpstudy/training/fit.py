"""The training loop of visual prompting, linear probing and fine-tuning."""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, MultiStepLR

from vpstudy.runtime import Runtime, generator
from vpstudy.training.data import Examples, TransferData, as_float
from vpstudy.training.outcome import Outcome, rank
from vpstudy.training.settings import Schedule


class Diverged(Exception):
    """Loss or logits are not finite: a result, not a programming error."""


class Learner(nn.Module):
    """A trainable map from inputs to target logits. Validation chooses among its states."""

    def loss(self, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(self(inputs).float(), labels)

    def optimizer(self, schedule: Schedule) -> tuple[torch.optim.Optimizer, LRScheduler]:
        """Adam, its rate divided by ten at 50 % and 72 % of the steps: the shape in the hidden-cost paper."""
        optimizer = torch.optim.Adam(self.parameters(), lr=schedule.learning_rate)
        milestones = [round(0.5 * schedule.steps), round(0.72 * schedule.steps)]
        return optimizer, MultiStepLR(optimizer, milestones)

    def after_step(self) -> None:
        """Called after each optimizer step."""

    def after_epoch(self) -> None:
        """Called after each pass over the training examples."""


def fit(
    learner: Learner,
    data: TransferData,
    inputs: torch.Tensor,
    budget: int | str,
    seed: int,
    schedule: Schedule,
) -> Outcome:
    """Train for a fixed number of steps, keep the state with the best validation, and read the test split once.

    `inputs` are all examples of the target, (N, ...): uint8 pictures or float features. If a loss or logit is not
    finite, the outcome has the status "diverged", a reason and no logits.
    """
    splits = data.split(budget, seed)
    train, validation, test = (data.examples(inputs, i) for i in (splits.train, splits.validation, splits.test))
    learner.to(data.runtime.device)
    optimizer, scheduler = learner.optimizer(schedule)
    moments = {math.ceil(schedule.steps * i / schedule.evaluations) for i in range(1, schedule.evaluations + 1)}
    history, best = [], None
    run = {"learning_rate": schedule.learning_rate, "steps": schedule.steps, "history": history}
    try:
        for step, (batch, last) in enumerate(batches(train, schedule, generator("order", seed)), 1):
            learner.train()
            with data.runtime.autocast():
                loss = learner.loss(as_float(batch.inputs), batch.labels)
            if not torch.isfinite(loss):
                raise Diverged(f"the training loss was {loss.item()} at step {step} of {schedule.steps}")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            learner.after_step()
            scheduler.step()
            if last:
                learner.after_epoch()
            if step in moments:
                history.append({"step": step, "loss": loss.item(), **_score(learner, validation, data.runtime)})
                if best is None or rank(history[-1]) > rank(best[0]):
                    best = history[-1], {name: value.clone() for name, value in learner.state_dict().items()}
        chosen, state = best
        learner.load_state_dict(state)
        parts = {"validation": validation, "test": test}
        logits = {name: logits_of(learner, part, data.runtime).cpu().numpy() for name, part in parts.items()}
    except Diverged as error:
        return Outcome(budget, seed, **run, status="diverged", reason=str(error))
    artefact = {name: value.cpu() for name, value in state.items()}
    return Outcome(budget, seed, **run, logits=logits, artefact=artefact, chosen=chosen)


def batches(examples: Examples, schedule: Schedule, order: torch.Generator) -> Iterator[tuple[Examples, bool]]:
    """Yield `schedule.steps` batches, reshuffled each epoch, and whether each ends its epoch.

    An epoch is split into the fewest batches that `schedule.batch` allows, with sizes at most one apart, so that all
    steps weigh about the same.
    """
    parts = math.ceil(len(examples) / schedule.batch)
    done = 0
    while done < schedule.steps:
        epoch = torch.randperm(len(examples), generator=order).tensor_split(parts)
        for i, indices in enumerate(epoch[: schedule.steps - done], 1):
            indices = indices.to(examples.labels.device)
            yield Examples(examples.inputs[indices], examples.labels[indices]), i == len(epoch)
            done += 1


def logits_of(learner: Learner, examples: Examples, runtime: Runtime, batch: int = 256) -> torch.Tensor:
    """Target logits (N, K), float32, on the device. Raises Diverged if one is not finite."""
    learner.eval()
    with torch.inference_mode(), runtime.autocast():
        logits = torch.cat([learner(as_float(chunk)).float() for chunk in examples.inputs.split(batch)])
    if not torch.isfinite(logits).all():
        raise Diverged("the logits on held-out pictures are not finite")
    return logits


def _score(learner: Learner, examples: Examples, runtime: Runtime) -> dict[str, float]:
    log_probabilities = logits_of(learner, examples, runtime).log_softmax(1)
    correct = (log_probabilities.argmax(1) == examples.labels).float().mean().item()
    nll = F.nll_loss(log_probabilities, examples.labels).item()
    return {"validation_accuracy": correct, "validation_nll": nll}
