"""What is compared: the study's way of a training step or a probe, and a plain way that computes the same."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from vpstudy.models.architectures import ARCHITECTURES, Architecture
from vpstudy.models.backbones import Backbone
from vpstudy.prompts.visual.modules import BorderPrompt
from vpstudy.runtime import Runtime, generator
from vpstudy.training.data import TransferData
from vpstudy.training.fit import fit
from vpstudy.training.linear_probe import Head
from vpstudy.training.outcome import Outcome
from vpstudy.training.settings import LinearProbe
from vpstudy.training.visual_prompting import PromptedBackbone

Step = Callable[[], float]  # one optimizer step; returns its loss
LEARNING_RATE = 0.01


@dataclass(frozen=True)
class Work:
    """What a step is made on: the frozen backbone, pictures (N, 3, inner, inner) in [0, 1], labels (N,)."""

    backbone: Backbone
    pictures: torch.Tensor
    labels: torch.Tensor
    canvas: int  # side of what the backbone sees, px
    classes: int


def random_backbone(timm: str, classes: int = 1000) -> Backbone:
    """A timm model with random weights, in the study's interface whether the study registers it or not."""
    architecture = ARCHITECTURES.get(timm, Architecture(timm, f"timm/{timm}"))
    return Backbone(architecture, [str(i) for i in range(classes)])


def work(backbone: Backbone, runtime: Runtime, *, batch: int, inner: int, canvas: int, classes: int = 10) -> Work:
    """Random pictures and labels: speed does not depend on what is seen."""
    draw = generator("benchmark", batch)
    pictures = torch.rand(batch, 3, inner, inner, generator=draw).to(runtime.device)
    labels = torch.randint(classes, (batch,), generator=draw).to(runtime.device)
    return Work(backbone.frozen().to(runtime.device), pictures, labels, canvas, classes)


def prompted(work: Work) -> PromptedBackbone:
    """A border in front of the backbone, as the study trains it; the mapping stays that of its seed."""
    prompt = BorderPrompt(work.pictures.shape[-1], work.canvas)
    return PromptedBackbone(work.backbone, prompt, "frequency", work.classes, seed=0).to(work.pictures.device)


def study_step(work: Work, runtime: Runtime) -> Step:
    """A step as `vpstudy.training.fit` makes it."""
    learner = prompted(work)
    optimizer = torch.optim.Adam(learner.parameters(), LEARNING_RATE)

    def step() -> float:
        with runtime.autocast():
            loss = learner.loss(work.pictures, work.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def plain_step(work: Work) -> Step:
    """The method as it is usually written (ILM-VP's loop): fp32, NCHW in memory, the network as it was loaded."""
    backbone = copy.deepcopy(work.backbone)
    network = backbone.model.to(memory_format=torch.contiguous_format)
    inner, mapping = work.pictures.shape[-1], prompted(work).mapping
    before = (work.canvas - inner) // 2
    around = (before, work.canvas - inner - before) * 2
    border = F.pad(torch.zeros(3, inner, inner), around, value=1.0).to(work.pictures.device)
    theta = torch.zeros_like(border, requires_grad=True)
    optimizer = torch.optim.Adam([theta], LEARNING_RATE)

    def step() -> float:
        canvas = F.pad(work.pictures, around) + torch.sigmoid(theta) * border
        logits = network((canvas - backbone.mean) / backbone.std)
        loss = F.cross_entropy(logits[:, mapping], work.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


class Recomputing(Head):
    """A head that computes the features of its pictures each time that it sees them."""

    def __init__(self, backbone: Backbone, n_classes: int, seed: int):
        super().__init__(backbone.classifier.in_features, n_classes, seed)
        self._backbone = (backbone.frozen(),)  # in a tuple: not a submodule, so never trained or saved

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            features = self._backbone[0].features(pictures)
        return super().forward(features)


def recomputing_probe(backbone: Backbone, data: TransferData, settings: LinearProbe) -> Outcome:
    """`linear_probe` on every training picture, without its cache."""
    learner = Recomputing(backbone.to(data.runtime.device), len(data.class_names), seed=0)
    pictures = data.padded(settings.size, settings.inner)
    return fit(learner, data, pictures, "all", 0, settings)
