"""A target for transfer learning: resized pictures and frozen features, each computed once, and splits by seed."""

from collections.abc import Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from vpstudy.data.budgets import Split, split
from vpstudy.data.origin import Origin
from vpstudy.data.target import load
from vpstudy.models.backbones import Backbone
from vpstudy.runtime import Runtime


@dataclass(frozen=True)
class Examples:
    """Inputs (N, ...) and labels (N,) on the device. Pictures are uint8, features float."""

    inputs: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)


class TransferData:
    """One target, shared by all methods, budgets and seeds of a cell.

    `validation_per_class` is the same at every budget; `origins` is the section `pictures` of the parameters, for
    fetched targets.
    """

    def __init__(
        self, name: str, validation_per_class: int, runtime: Runtime, origins: Mapping[str, Origin] | None = None
    ):
        self.runtime, self.validation_per_class = runtime, validation_per_class
        self.origins = origins
        self.target = load(name, origins=origins)
        self.labels = torch.as_tensor(self.target.labels).to(runtime.device)
        self._pictures: dict[int, torch.Tensor] = {}
        self._source_logits: WeakKeyDictionary[Backbone, tuple[tuple, torch.Tensor]] = WeakKeyDictionary()
        self._features: WeakKeyDictionary[Backbone, dict[tuple[int, int | None], torch.Tensor]] = WeakKeyDictionary()

    @property
    def class_names(self) -> list[str]:
        return self.target.class_names

    def split(self, budget: int | str, seed: int) -> Split:
        return split(self.target, budget, self.validation_per_class, seed)

    @property
    def class_shares(self) -> np.ndarray:
        """Share of each class (K,) outside the test set, in the pool of which training and validation are drawn."""
        labels = np.delete(np.asarray(self.target.labels), self.target.test)
        return np.bincount(labels, minlength=len(self.class_names)) / len(labels)

    def pictures(self, size: int) -> torch.Tensor:
        """All pictures, uint8 (N, 3, size, size), resized from the originals once."""
        if size not in self._pictures:
            self._pictures[size] = load(self.target.name, size, self.origins).pictures.to(self.runtime.device)
        return self._pictures[size]

    def padded(self, size: int, inner: int | None) -> torch.Tensor:
        """All pictures, uint8 (N, 3, size, size); with `inner`, resized to that side and padded with black."""
        if inner is None:
            return self.pictures(size)
        before = (size - inner) // 2
        return F.pad(self.pictures(inner), (before, size - inner - before) * 2)

    def features(self, backbone: Backbone, size: int, inner: int | None = None, batch: int = 256) -> torch.Tensor:
        """Pooled features (N, F) of all pictures (as in `padded`) from a frozen backbone; computed once."""
        cached = self._features.setdefault(backbone, {})
        if (size, inner) not in cached:
            backbone.frozen().to(self.runtime.device)
            with torch.inference_mode(), self.runtime.autocast():
                cached[size, inner] = torch.cat(
                    [backbone.features(as_float(chunk)).float() for chunk in self.padded(size, inner).split(batch)]
                )
        return cached[size, inner]

    def source_logits(self, backbone: Backbone, prompt: nn.Module, batch: int = 256) -> torch.Tensor:
        """Source logits (N, S) of all pictures with an untrained prompt, computed once for prompts that show the same.

        Only those of the last such prompt are kept. Where it changes no picture, `features` come from the same pass.
        """
        shown = prompt.inner, prompt.eval().picture().cpu().numpy().tobytes()
        if self._source_logits.get(backbone, (None,))[0] != shown:
            backbone.frozen().to(self.runtime.device)
            logits, pooled, unchanged = [], [], True
            # Before the hook that rounds the classifier's inputs, if there is one.
            hook = backbone.classifier.register_forward_pre_hook(lambda _, seen: pooled.append(seen[0]), prepend=True)
            try:
                with torch.no_grad(), self.runtime.autocast():
                    for pictures in map(as_float, self.pictures(prompt.inner).split(batch)):
                        prompted = prompt(pictures)
                        unchanged = unchanged and torch.equal(prompted, pictures)
                        logits.append(backbone(prompted).float())
            finally:
                hook.remove()
            self._source_logits[backbone] = shown, torch.cat(logits)
            if unchanged:
                features = torch.cat([each.mean((2, 3)) if each.ndim == 4 else each for each in pooled]).float()
                self._features.setdefault(backbone, {})[prompt.inner, None] = features
        return self._source_logits[backbone][1]

    def examples(self, inputs: torch.Tensor, indices) -> Examples:
        indices = torch.as_tensor(indices, device=inputs.device)
        return Examples(inputs[indices], self.labels[indices])


def as_float(inputs: torch.Tensor) -> torch.Tensor:
    """uint8 pictures to floats in [0, 1]; features stay as they are."""
    return inputs.float() / 255 if inputs.dtype == torch.uint8 else inputs
