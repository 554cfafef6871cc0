"""The result of adapting a backbone to a target, whatever the method."""

from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.special import softmax


@dataclass(frozen=True)
class Outcome:
    """One trained adaptation.

    Attributes
    ----------
    method
        A name given by who compares several.
    logits
        For "validation" and "test": float32 (N, K). Empty if the run diverged.
    artefact
        The learned tensors: a prompt and its mapping, a head, or a whole model.
    history
        One entry for each evaluation on the validation split.
    chosen
        The entry of `history` that validation chose: highest accuracy, then lowest negative log-likelihood.
    learning_rate, steps
        It was trained at, and for.
    """

    budget: int | str
    seed: int
    method: str = ""
    status: str = "ok"
    reason: str | None = None
    logits: dict[str, np.ndarray] = field(default_factory=dict)
    artefact: dict[str, torch.Tensor] = field(default_factory=dict)
    history: list[dict] = field(default_factory=list)
    chosen: dict = field(default_factory=dict)
    learning_rate: float = 0.0
    steps: int = 0

    @property
    def probabilities(self) -> dict[str, np.ndarray]:
        """For "validation" and "test": float32 (N, K), each row a distribution over the target classes."""
        return {part: softmax(values.astype(float), axis=1).astype(np.float32) for part, values in self.logits.items()}

    @property
    def trial(self) -> dict[str, float]:
        """What its learning rate reached on validation."""
        accuracy, negative_nll = self.rank
        return {
            "learning_rate": self.learning_rate,
            "validation_accuracy": accuracy,
            "validation_nll": -negative_nll,
        }

    @property
    def rank(self) -> tuple[float, float]:
        """Larger is better on validation; a run that diverged is below all others."""
        return rank(self.chosen) if self.status == "ok" else (-1.0, 0.0)


def rank(entry: dict) -> tuple[float, float]:
    """Of an evaluation on the validation split: accuracy first, then negative log-likelihood."""
    return entry["validation_accuracy"], -entry["validation_nll"]
