"""Visual prompting: a prompt is learned in front of a frozen backbone, and source logits answer for target classes."""

import numpy as np
import torch
import torch.nn.functional as F

from vpstudy.models.backbones import Backbone
from vpstudy.prompts.label_mapping import (
    bayesian_mapping,
    bayesian_mapping_plus,
    count_matrix,
    frequency_mapping,
    random_mapping,
)
from vpstudy.prompts.output import LinearOutput
from vpstudy.prompts.visual.modules import AddedPrompt, BorderPrompt
from vpstudy.runtime import seed_for
from vpstudy.training.data import TransferData
from vpstudy.training.fit import Learner, adam_in_three_stages, fit
from vpstudy.training.outcome import Outcome
from vpstudy.training.settings import VisualPrompting

AGAIN_EACH_EPOCH = ("iterative", "bayesian", "bayesian_plus")


class PromptedBackbone(Learner):
    """A frozen backbone that sees prompted pictures, and answers with K target logits made of its S source logits.

    What is mapped anew each epoch is counted from what the training steps of the epoch that just ended have
    predicted, each training picture once. The original makes another pass for it, with the prompt as it is in the
    end; counting along the way spares one forward pass in four.
    """

    def __init__(self, backbone: Backbone, prompt: BorderPrompt | AddedPrompt, kind: str, n_target: int, seed: int):
        super().__init__()
        self.prompt, self.kind = prompt, kind
        self._n_source, self._n_target = len(backbone.class_names), n_target
        start = torch.as_tensor(random_mapping(self._n_source, n_target, seed_for("mapping", seed)))
        if kind == "linear":
            self.output = LinearOutput(self._n_source, n_target, start)
        elif kind.startswith("bayesian"):
            self.register_buffer("omega", F.one_hot(start, self._n_source).T.float().contiguous())
        else:
            self.register_buffer("mapping", start)
        self._backbone = (backbone.frozen(),)  # in a tuple: not a submodule, so never trained, moved or saved
        self._seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def source_logits(self, pictures: torch.Tensor) -> torch.Tensor:
        return self._backbone[0](self.prompt(pictures)).float()

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self._mapped(self.source_logits(pictures))

    def _mapped(self, logits: torch.Tensor) -> torch.Tensor:
        if self.kind == "linear":
            return self.output(logits)
        return logits @ self.omega if self.kind.startswith("bayesian") else logits[:, self.mapping]

    def loss(self, pictures: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        logits = self.source_logits(pictures)
        if self.kind in AGAIN_EACH_EPOCH:
            self._seen.append((logits.detach(), labels))
        return F.cross_entropy(self._mapped(logits), labels)

    def end_epoch(self) -> None:
        if self._seen:
            self._map(*(torch.cat(column) for column in zip(*self._seen, strict=True)))
            self._seen.clear()

    def map_by_predictions(self, pictures: torch.Tensor, labels: torch.Tensor, batch: int = 256) -> None:
        """Set the mapping from one pass over `pictures` with the prompt as it is."""
        with torch.inference_mode():
            self._map(torch.cat([self.source_logits(chunk) for chunk in pictures.split(batch)]), labels)

    def _map(self, logits: torch.Tensor, labels: torch.Tensor) -> None:
        if self.kind == "bayesian_plus":
            self.omega.copy_(bayesian_mapping_plus(logits.softmax(1), labels, self._n_target))
            return
        counts = count_matrix(logits.argmax(1), labels, self._n_source, self._n_target)
        if self.kind == "bayesian":
            self.omega.copy_(bayesian_mapping(counts))
        elif self.kind == "linear":
            self.output.start_from(torch.as_tensor(frequency_mapping(counts)))
        else:
            self.mapping.copy_(torch.as_tensor(frequency_mapping(counts)))


def visual_prompting(
    backbone: Backbone,
    data: TransferData,
    budget: int | str,
    seed: int,
    settings: VisualPrompting,
    method: str = "visual_prompting",
    test_curves: bool = False,
) -> Outcome:
    """Learn a prompt and a label mapping (arXiv 2308.14969; iterative mapping of ILM-VP, CVPR 2023).

    No augmentation; the optimizer is `adam_in_three_stages`. What is mapped by frequency, once or again each epoch,
    starts from one pass over the training pictures; so does the learned output layer.

    Returns
    -------
    Outcome
        Its artefact holds the prompt's tensors (`prompt.theta` (3, canvas, canvas) of a border) and `mapping`
        (K,), `omega` (S, K) or the `output` layer.
    """
    backbone.to(data.runtime.device)
    prompt = settings.make_prompt(seed_for("prompt", seed))
    inputs = data.pictures(prompt.inner)
    learner = PromptedBackbone(backbone, prompt, settings.mapping, len(data.class_names), seed)
    learner.to(data.runtime.device)
    if settings.mapping != "random":
        train = data.examples(inputs, data.split(budget, seed).train)
        learner.map_by_predictions(train.inputs.float() / 255, train.labels)
    optimizer, scheduler = adam_in_three_stages(learner.parameters(), settings)
    return fit(
        learner,
        data,
        inputs,
        method=method,
        test_curves=test_curves,
        budget=budget,
        seed=seed,
        schedule=settings,
        optimizer=optimizer,
        scheduler=scheduler,
    )


def mapping_of(artefact: dict[str, torch.Tensor]) -> np.ndarray:
    """The source class (K,) that weighs most in each target class."""
    if "mapping" in artefact:
        return artefact["mapping"].numpy()
    weights = artefact["omega"].T if "omega" in artefact else artefact["output.linear.weight"]
    return weights.argmax(1).numpy()
