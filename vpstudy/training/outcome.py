"""The result of adapting a backbone to a target."""

from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.special import softmax


@dataclass(frozen=True)
class Outcome:
    """One trained adaptation; a diverged one has no logits."""

    budget: int | str
    seed: int
    method: str = ""  # set where several are compared
    status: str = "ok"
    reason: str | None = None
    logits: dict[str, np.ndarray] = field(default_factory=dict)  # float32 (N, K) for "validation" and "test"
    artefact: dict[str, torch.Tensor] = field(default_factory=dict)  # prompt and mapping, head, or whole model
    history: list[dict] = field(default_factory=list)  # an entry per evaluation on validation
    chosen: dict = field(default_factory=dict)  # the entry of highest rank
    learning_rate: float = 0.0
    steps: int = 0

    @property
    def probabilities(self) -> dict[str, np.ndarray]:
        """float32 (N, K) for "validation" and "test"; rows sum to 1."""
        return {part: softmax(values.astype(float), axis=1).astype(np.float32) for part, values in self.logits.items()}

    @property
    def trial(self) -> dict[str, float]:
        """Learning rate and the validation result it reached."""
        accuracy, negative_nll = self.rank
        return {
            "learning_rate": self.learning_rate,
            "validation_accuracy": accuracy,
            "validation_nll": -negative_nll,
        }

    @property
    def rank(self) -> tuple[float, float]:
        """Validation rank, larger is better; a diverged run is below all others."""
        return rank(self.chosen) if self.status == "ok" else (-1.0, 0.0)


def rank(entry: dict) -> tuple[float, float]:
    """Rank of a validation entry: accuracy, then negative log-likelihood."""
    return entry["validation_accuracy"], -entry["validation_nll"]
