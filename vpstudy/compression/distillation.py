"""Recovery without the source data: a compressed backbone learns to answer as the dense one does, on other pictures.

No label is used, and no picture of a target. Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network"
(2015).
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import clip_grad_norm_
from torch.optim.lr_scheduler import CosineAnnealingLR

from vpstudy.compression.settings import Distillation
from vpstudy.models.backbones import Backbone
from vpstudy.progress import track
from vpstudy.runtime import Runtime, generator

LONGEST = 1.0  # norm of a gradient; a network that pruning has broken begins with very long ones


def softened_kl(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T² · KL(teacher ‖ student) of logits (N, S) divided by T, in nats, the mean over pictures.

    T² keeps the size of gradients about the same at every temperature.
    """
    logs = [(logits / temperature).log_softmax(1) for logits in (student, teacher)]
    return temperature**2 * F.kl_div(*logs, reduction="batchmean", log_target=True)


def distill(
    student: Backbone,
    teacher: Backbone,
    pictures: Tensor,
    settings: Distillation,
    runtime: Runtime,
    label: str = "distillation",
) -> list[float]:
    """Train every weight of `student` towards what `teacher` makes of `pictures`, uint8 (N, 3, H, W).

    Constraints on the student (masks, quantization) are part of its forward pass and so survive. Dropout is off: both
    see the same network. With BatchNorm in training its statistics are those of a micro-batch, and the sum of
    gradients is no longer exactly that of the whole batch.

    Returns
    -------
    list of float
        The loss of each step. `student` is left frozen, in eval mode.

    Raises
    ------
    ValueError
        If pictures are none, the two answer for other classes, or the loss leaves the finite numbers.
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
        _train_statistics(student)
    # Not Adam, which divides by the size of gradients: a student that agrees already has some by rounding alone, and
    # would be led away by them.
    rate = settings.learning_rate * student.architecture.rate
    optimizer = torch.optim.SGD(student.parameters(), rate, momentum=0.9, weight_decay=settings.weight_decay)
    scheduler = CosineAnnealingLR(optimizer, max(settings.steps, 1))
    losses, batches = [], _batches(len(pictures), settings)
    for step in track(range(1, settings.steps + 1), label):
        indices, total = next(batches), 0.0
        optimizer.zero_grad()
        for part in indices.split(settings.micro_batch or settings.batch):
            seen = pictures[part].to(runtime.device).float() / 255
            with runtime.autocast():
                loss = _loss(student, teacher, seen, settings) * (len(part) / len(indices))
            loss.backward()
            total += loss.item()
        if not math.isfinite(total):
            raise ValueError(
                f"{label}: the loss is {total} at step {step} of {settings.steps}; "
                f"lower recovery.learning_rate ({settings.learning_rate})"
            )
        clip_grad_norm_(student.parameters(), LONGEST)
        optimizer.step()
        scheduler.step()
        losses.append(total)
    student.zero_grad()
    student.frozen()
    return losses


def _loss(student: Backbone, teacher: Backbone, pictures: Tensor, settings: Distillation) -> Tensor:
    if not settings.feature_weight:
        with torch.no_grad():
            wanted = teacher(pictures).float()
        return softened_kl(student(pictures).float(), wanted, settings.temperature)
    with torch.no_grad():
        features = teacher.features(pictures)
        wanted = teacher.classifier(features).float()
    found = student.features(pictures)
    kl = softened_kl(student.classifier(found).float(), wanted, settings.temperature)
    return kl + settings.feature_weight * F.mse_loss(found.float(), features.float())


def _batches(n: int, settings: Distillation) -> Iterator[Tensor]:
    """Indices of batches without end, reshuffled each epoch, all of one size or one apart."""
    order = generator("distillation", settings.seed)
    while True:
        yield from torch.randperm(n, generator=order).tensor_split(math.ceil(n / settings.batch))


def _train_statistics(model: nn.Module) -> None:
    """Put BatchNorm into training, but for layers whose statistics are those of a new one.

    Those were folded into the convolution before (or never trained): they stand for the identity, and normalising by
    each batch would undo what the convolution does.
    """
    for norm in model.modules():
        if isinstance(norm, _BatchNorm) and norm.track_running_stats:
            folded = bool((norm.running_mean == 0).all() and (norm.running_var == 1).all())
            norm.train(not folded)
