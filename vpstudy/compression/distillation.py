"""Recovery without source data: a compressed backbone learns to predict as the dense one does, on other pictures.

No labels, no pictures of measured targets. Hinton et al., "Distilling the Knowledge in a Neural Network" (2015), at
temperature 1.
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim.lr_scheduler import CosineAnnealingLR

from vpstudy.compression.settings import Distillation
from vpstudy.models.backbones import Backbone, train_statistics
from vpstudy.progress import track
from vpstudy.runtime import Runtime, generator

LONGEST = 1.0  # gradient norm limit; networks broken by pruning start with very long gradients


def divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(teacher ‖ student) of logits (N, S), in nats, averaged over pictures."""
    logs = [logits.log_softmax(1) for logits in (student, teacher)]
    return F.kl_div(*logs, reduction="batchmean", log_target=True)


def distill(
    student: Backbone,
    teacher: Backbone,
    pictures: Tensor,
    settings: Distillation,
    runtime: Runtime,
    label: str = "distillation",
) -> list[float]:
    """Train all weights of `student` to match the outputs of `teacher` on `pictures`, uint8 (N, 3, H, W).

    Masks and quantization are part of the student's forward pass, so they survive. Dropout is off. Returns the loss of
    each step; `student` is left frozen. Raises ValueError for bad or no pictures, other classes, or a loss that is not
    finite.
    """
    if pictures.dtype != torch.uint8 or pictures.ndim != 4 or pictures.shape[1] != 3 or not len(pictures):
        raise ValueError(f"pictures are {pictures.dtype} {tuple(pictures.shape)}; expected uint8 (N, 3, H, W), N ≥ 1")
    if student.class_names != teacher.class_names:
        raise ValueError(
            f"the student answers for {len(student.class_names)} classes and the teacher for "
            f"{len(teacher.class_names)}, or for others; both need the same"
        )
    teacher.frozen().to(runtime.device)
    student.to(runtime.device).requires_grad_(True).eval()
    if settings.batchnorm == "train":
        train_statistics(student)
    # Not Adam: it would scale up the gradients of a student that already agrees, which come from rounding alone.
    rate = settings.learning_rate * student.architecture.rate
    optimizer = torch.optim.SGD(student.parameters(), rate, momentum=0.9, weight_decay=settings.weight_decay)
    scheduler = CosineAnnealingLR(optimizer, max(settings.steps, 1))
    losses, batches = [], _batches(len(pictures), settings, student.name)
    for step in track(range(1, settings.steps + 1), label):
        seen = pictures[next(batches)].to(runtime.device).float() / 255
        with runtime.autocast():
            with torch.no_grad():
                wanted = teacher(seen).float()
            loss = divergence(student(seen).float(), wanted)
        if not torch.isfinite(loss):
            raise ValueError(
                f"{label}: the loss is {loss.item()} at step {step} of {settings.steps}; "
                f"lower recovery.learning_rate ({settings.learning_rate})"
            )
        optimizer.zero_grad()
        loss.backward()
        clip_grad_norm_(student.parameters(), LONGEST)
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    student.zero_grad()
    student.frozen()
    return losses


def _batches(n: int, settings: Distillation, backbone: str) -> Iterator[Tensor]:
    """Endless batches of indices, reshuffled each epoch; sizes differ by at most one. Each backbone has its order."""
    order = generator("distillation", backbone, settings.seed)
    while True:
        yield from torch.randperm(n, generator=order).tensor_split(math.ceil(n / settings.batch))
