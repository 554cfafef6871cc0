"""ProGrad (Zhu et al., ICCV 2023): CoOp without the gradient component that opposes the hand-written prompt."""

from vpstudy.settings import Share, Strict
from vpstudy.training.prompt_learning.prompters.base import Prompter, Variant


class Settings(Strict):
    share: Share = 1.0  # of the conflicting component that is removed


def arms(trial):
    def gradients(step, trained):
        import torch
        import torch.nn.functional as F

        general = step.logits_of(step.task.hand_written["base"]).softmax(1)
        knowledge = F.kl_div(step.logits.log_softmax(1), general, reduction="batchmean")
        of_task = torch.autograd.grad(step.loss, trained, retain_graph=True)
        of_knowledge = torch.autograd.grad(knowledge, trained)
        return [aligned(*pair, trial.own.share) for pair in zip(of_task, of_knowledge, strict=True)]

    yield trial.trained("full", Variant(gradients=gradients))


def aligned(gradient, knowledge, share: float):
    """The gradient without `share` of its component against `knowledge`."""
    along = (gradient * knowledge).sum()
    if along >= 0 or not knowledge.any():
        return gradient
    return gradient - share * along / knowledge.square().sum() * knowledge


PROMPTER = Prompter("ProGrad", arms, Settings)
