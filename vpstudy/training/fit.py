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
    """Loss, logits, scores or weights are not finite: a result, not a programming error."""


class Learner(nn.Module):
    """A trainable map from inputs to target logits. Validation chooses among its states."""

    def loss(self, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(self(inputs).float(), labels)

    def optimizer(self, schedule: Schedule) -> tuple[torch.optim.Optimizer, LRScheduler]:
        """Adam, its rate divided by ten at 50 % and 72 % of the steps: the shape in the hidden-cost paper."""
        optimizer = torch.optim.Adam(self.parameters(), lr=schedule.learning_rate)
        milestones = [round(0.5 * schedule.steps), round(0.72 * schedule.steps)]
        return optimizer, MultiStepLR(optimizer, milestones)

    def before_step(self, done: int) -> None:
        """Called before each optimizer step, with the number of those done."""

    def after_step(self) -> None:
        """Called after each optimizer step."""


def fit(
    learner: Learner,
    data: TransferData,
    inputs: torch.Tensor,
    budget: int | str,
    seed: int,
    schedule: Schedule,
    start: torch.Tensor | None = None,
) -> Outcome:
    """Train for a fixed number of steps, keep the state with the best validation, and read the test split once.

    `inputs` are all examples of the target, (N, ...): uint8 pictures or float features. `start` holds their target
    logits (N, K) before the first step, if validation may choose that moment, too. If a loss or logit is not finite,
    the outcome has the status "diverged", a reason and no logits.
    """
    splits = data.split(budget, seed)
    train, *held_out = (data.examples(inputs, i) for i in (splits.train, splits.validation, splits.test))
    learner.to(data.runtime.device)
    optimizer, scheduler = learner.optimizer(schedule)
    moments = evenly_spaced(schedule.steps, schedule.evaluations)
    history, best = [], None
    run = {"learning_rate": schedule.learning_rate, "steps": schedule.steps, "history": history}

    def evaluate(step: int, logits: torch.Tensor, **more: float) -> None:
        nonlocal best
        history.append({"step": step} | more | _score(logits, held_out[0].labels))
        if best is None or rank(history[-1]) > rank(best[0]):
            best = history[-1], {name: value.clone() for name, value in learner.state_dict().items()}

    try:
        if start is not None:
            before = [_finite(start[part]) for part in map(torch.as_tensor, (splits.validation, splits.test))]
            evaluate(0, before[0])
        order = generator("order", seed)
        for step, batch in zip(range(1, schedule.steps + 1), batches(train, schedule.batch, order), strict=False):
            learner.before_step(step - 1)
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
            if step in moments:
                evaluate(step, logits_of(learner, held_out[0], data.runtime), loss=loss.item())
        chosen, state = best
        learner.load_state_dict(state)
        of_parts = [logits_of(learner, part, data.runtime) for part in held_out] if chosen["step"] else before
    except Diverged as error:
        return Outcome(budget, seed, **run, status="diverged", reason=str(error))
    logits = {name: of_part.cpu().numpy() for name, of_part in zip(("validation", "test"), of_parts, strict=True)}
    artefact = {name: value.cpu() for name, value in state.items()}
    return Outcome(budget, seed, **run, logits=logits, artefact=artefact, chosen=chosen)


def evenly_spaced(total: int, parts: int) -> list[int]:
    """The ends of `parts` equal parts of `total` steps, rounded up."""
    return [math.ceil(total * i / parts) for i in range(1, parts + 1)]


def batches(examples: Examples, batch: int, order: torch.Generator) -> Iterator[Examples]:
    """Endless batches, reshuffled after each pass through the examples.

    A pass is split into the fewest batches of at most `batch`, with sizes at most one apart, so that all steps weigh
    about the same.
    """
    parts = math.ceil(len(examples) / batch)
    while True:
        for indices in torch.randperm(len(examples), generator=order).tensor_split(parts):
            indices = indices.to(examples.labels.device)
            yield Examples(examples.inputs[indices], examples.labels[indices])


def logits_of(learner: Learner, examples: Examples, runtime: Runtime, batch: int = 256) -> torch.Tensor:
    """Target logits (N, K), float32, on the device. Raises Diverged if one is not finite."""
    learner.eval()
    with torch.inference_mode(), runtime.autocast():
        return _finite(torch.cat([learner(as_float(chunk)).float() for chunk in examples.inputs.split(batch)]))


def _finite(logits: torch.Tensor) -> torch.Tensor:
    if not torch.isfinite(logits).all():
        raise Diverged("the logits on held-out pictures are not finite")
    return logits


def _score(logits: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    log_probabilities = logits.log_softmax(1)
    correct = (log_probabilities.argmax(1) == labels).float().mean().item()
    return {"validation_accuracy": correct, "validation_nll": F.nll_loss(log_probabilities, labels).item()}
