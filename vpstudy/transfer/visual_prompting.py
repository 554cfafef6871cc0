"""Visual prompting: only the border of the picture is learned, in front of a frozen backbone."""

import numpy as np
import torch
import torch.nn.functional as F

from vpstudy.backbones import Backbone
from vpstudy.parameters.hidden_cost import VisualPrompting
from vpstudy.prompts.label_mapping import count_matrix, frequency_mapping, random_mapping
from vpstudy.prompts.visual import PaddedPrompt
from vpstudy.runtime import seed_for
from vpstudy.transfer.data import TransferData
from vpstudy.transfer.fit import Learner, adam_in_three_stages, fit
from vpstudy.transfer.outcome import Outcome


class PromptedBackbone(Learner):
    """A frozen backbone that sees prompted pictures and answers with K of its S source logits.

    The iterative mapping is counted from what the training steps of the epoch that just ended have predicted, each
    training picture once. The original makes another pass for it, with the prompt as it is in the end; counting
    along the way spares one forward pass in four.
    """

    def __init__(self, backbone: Backbone, prompt: PaddedPrompt, mapping: np.ndarray, remap: bool):
        super().__init__()
        self.prompt, self.remap = prompt, remap
        self.register_buffer("mapping", torch.as_tensor(mapping))
        self._backbone = (backbone.frozen(),)  # in a tuple: not a submodule, so never trained, moved or saved
        self._seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def source_logits(self, pictures: torch.Tensor) -> torch.Tensor:
        return self._backbone[0](self.prompt(pictures))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.source_logits(pictures)[:, self.mapping]

    def loss(self, pictures: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        logits = self.source_logits(pictures)
        if self.remap:
            self._seen.append((logits.detach().argmax(1), labels))
        return F.cross_entropy(logits[:, self.mapping].float(), labels)

    def end_epoch(self) -> None:
        if self.remap:
            predictions, labels = (torch.cat(column) for column in zip(*self._seen, strict=True))
            self.mapping.copy_(torch.as_tensor(self._frequent(predictions, labels)))
            self._seen.clear()

    def _frequent(self, predictions: torch.Tensor, labels: torch.Tensor) -> np.ndarray:
        counts = count_matrix(
            predictions.cpu().numpy(), labels.cpu().numpy(),
            len(self._backbone[0].class_names), len(self.mapping),
        )  # fmt: skip
        return frequency_mapping(counts)

    def map_by_frequency(self, pictures: torch.Tensor, labels: torch.Tensor, batch: int = 256) -> None:
        """Set the mapping from one pass over `pictures` with the prompt as it is."""
        with torch.inference_mode():
            predictions = [self.source_logits(chunk).argmax(1) for chunk in pictures.split(batch)]
        self.mapping.copy_(torch.as_tensor(self._frequent(torch.cat(predictions), labels)))


def visual_prompting(
    backbone: Backbone, data: TransferData, budget: int | str, seed: int, settings: VisualPrompting
) -> Outcome:
    """Learn a padded prompt and a label mapping (arXiv 2308.14969; iterative mapping of ILM-VP, CVPR 2023).

    No augmentation; the optimizer is `adam_in_three_stages`.

    Returns
    -------
    Outcome
        Its artefact holds `prompt.theta` (3, canvas, canvas) and `mapping` (K,).
    """
    backbone.to(data.runtime.device)
    inputs = data.pictures(settings.inner)
    start = random_mapping(len(backbone.class_names), len(data.class_names), seed_for("mapping", seed))
    learner = PromptedBackbone(
        backbone,
        PaddedPrompt(settings.inner, settings.canvas),
        start,
        remap=settings.mapping == "iterative",
    ).to(data.runtime.device)
    if settings.mapping != "random":
        train = data.examples(inputs, data.split(budget, seed).train)
        learner.map_by_frequency(train.inputs.float() / 255, train.labels)
    optimizer, scheduler = adam_in_three_stages(learner.prompt.parameters(), settings)
    return fit(
        learner,
        data,
        inputs,
        method="visual_prompting",
        budget=budget,
        seed=seed,
        schedule=settings,
        optimizer=optimizer,
        scheduler=scheduler,
    )
