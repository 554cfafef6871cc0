"""Visual prompting: a learned prompt in front of a frozen backbone; source logits are mapped to target classes."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from vpstudy.models.backbones import Backbone
from vpstudy.prompts.label_mapping import MAPPINGS, random_mapping
from vpstudy.prompts.quantized import FixedBorder, QuantizedBorder
from vpstudy.prompts.visual.modules import AddedPrompt, BorderPrompt
from vpstudy.runtime import seed_for
from vpstudy.training.data import TransferData
from vpstudy.training.fit import Learner, evenly_spaced, fit, logits_of
from vpstudy.training.outcome import Outcome
from vpstudy.training.settings import VisualPrompting


class PromptedBackbone(Learner):
    """A frozen backbone on prompted pictures, with its S source logits mapped to K target logits.

    An iterative mapping is estimated again after each number of steps in `remaps`, before the next one, from the
    training predictions since the last time: what is evaluated has been trained under its mapping. A class without a
    picture since then keeps its predictions of the first estimate. The original takes another pass with the prompt each
    epoch; ours saves one forward pass in four.
    """

    def __init__(
        self,
        backbone: Backbone,
        prompt: BorderPrompt | AddedPrompt,
        mapping: str,
        n_target: int,
        seed: int,
        remaps: Sequence[int] = (),
    ):
        super().__init__()
        self.prompt, self.kind, self._remaps = prompt, MAPPINGS[mapping], remaps
        n_source, self._n_target = len(backbone.class_names), n_target
        start = torch.as_tensor(random_mapping(n_source, n_target, seed_for("mapping", seed)))
        self.register_buffer("evidence", torch.zeros(n_target))  # as in `Estimate`
        if self.kind.learned:
            self.output = nn.utils.skip_init(nn.Linear, n_source, n_target)
            self._set(start)
        elif self.kind.weighted:
            self.register_buffer("omega", F.one_hot(start, n_source).T.float().contiguous())
        else:
            self.register_buffer("mapping", start)
        self._backbone = (backbone.frozen(),)  # in a tuple: not a submodule, so never trained, moved or saved
        self._recording, self._seen = False, []  # source logits and labels of training batches
        self._first: tuple[torch.Tensor, torch.Tensor] | None = None  # those of the first estimate

    def source_logits(self, pictures: torch.Tensor) -> torch.Tensor:
        return self._backbone[0](self.prompt(pictures)).float()

    def mapped(self, logits: torch.Tensor) -> torch.Tensor:
        """Source logits (N, S) to target logits (N, K)."""
        if self.kind.learned:
            return self.output(logits)
        return logits @ self.omega if self.kind.weighted else logits[:, self.mapping]

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.mapped(self.source_logits(pictures))

    def loss(self, pictures: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        logits = self.source_logits(pictures)
        if self._recording:
            self._seen.append((logits.detach(), labels))
        return F.cross_entropy(self.mapped(logits), labels)

    def before_step(self, done: int) -> None:
        if self.kind.iterative and done in self._remaps:
            self.estimate_mapping(*(torch.cat(column) for column in zip(*self._seen, strict=True)))
            self._seen.clear()
        self._recording = self.kind.iterative and done < max(self._remaps, default=0)

    def after_step(self) -> None:
        if isinstance(self.prompt, QuantizedBorder):
            self.prompt.step()

    def estimate_mapping(self, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """Estimate the mapping from source logits (N, S) and labels (N,); a random one stays."""
        if self.kind.estimate:
            self._first = self._first or (logits, labels)
            unseen = ~torch.isin(self._first[1], labels)
            logits, labels = (torch.cat([of, self._first[k][unseen]]) for k, of in enumerate((logits, labels)))
            mapping, evidence = self.kind.estimate(logits, labels, self._n_target)
            self._set(torch.as_tensor(mapping))
            self.evidence.copy_(torch.as_tensor(evidence))

    @torch.no_grad()
    def _set(self, mapping: torch.Tensor) -> None:
        if self.kind.learned:  # target logits equal the mapped source logits until the first step
            self.output.weight.copy_(F.one_hot(mapping, self.output.in_features))
            self.output.bias.zero_()
        else:
            (self.omega if self.kind.weighted else self.mapping).copy_(mapping)


def visual_prompting(
    backbone: Backbone,
    data: TransferData,
    budget: int | str,
    seed: int,
    settings: VisualPrompting,
    prompt: QuantizedBorder | None = None,
) -> Outcome:
    """Learn a prompt and a label mapping, unaugmented (arXiv 2308.14969; ILM-VP, CVPR 2023).

    Validation may also choose the moment before the first step, that is, the mapping alone; with `settings.untrained`
    it is the only one. `prompt` replaces that of `settings` and is trained in place. The artefact holds the prompt's
    tensors (a border's `prompt.theta` (3, canvas, canvas)), `mapping` (K,), `omega` (S, K) or the `output` layer, and
    the mapping's `evidence` (K,).
    """
    prompt = prompt or settings.make_prompt(seed_for("prompt", seed))
    remaps = evenly_spaced(settings.steps, settings.remaps + 1)[:-1]  # the same number at every budget
    learner = PromptedBackbone(backbone, prompt, settings.mapping, len(data.class_names), seed, remaps)
    learner.to(data.runtime.device)
    untrained = data.source_logits(backbone, prompt)
    train = data.examples(untrained, data.split(budget, seed).train)
    learner.estimate_mapping(train.inputs, train.labels)
    with torch.no_grad():
        start = learner.mapped(untrained)
    return fit(learner, data, data.pictures(prompt.inner), budget, seed, settings, start)


def answers(
    backbone: Backbone,
    data: TransferData,
    settings: VisualPrompting,
    values: torch.Tensor,
    artefact: dict[str, torch.Tensor],
    indices: np.ndarray,
) -> np.ndarray:
    """Target logits (N, K), float32, of the pictures `indices` inside a border of stored `values` (n,).

    `artefact` gives the mapping. Raises Diverged if the logits are not finite.
    """
    border = FixedBorder(settings.chosen.inner, settings.canvas, values)
    learner = PromptedBackbone(backbone, border, settings.mapping, len(data.class_names), 0)
    output = {name: tensor for name, tensor in artefact.items() if not name.startswith("prompt.")}
    learner.load_state_dict(output, strict=False)  # theta is missing, but not shown
    learner.to(data.runtime.device)
    return logits_of(learner, data.examples(data.pictures(border.inner), indices), data.runtime).cpu().numpy()


def mapping_of(artefact: dict[str, torch.Tensor]) -> np.ndarray:
    """The source class (K,) with the largest weight for each target class."""
    if "mapping" in artefact:
        return artefact["mapping"].numpy()
    weights = artefact["omega"].T if "omega" in artefact else artefact["output.weight"]
    return weights.argmax(1).numpy()
