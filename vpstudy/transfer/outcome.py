"""What adapting a backbone to a target yields, whatever the method."""

from dataclasses import dataclass, field

import numpy as np
import torch


@dataclass(frozen=True)
class Outcome:
    """One trained adaptation.

    Attributes
    ----------
    probabilities
        For "validation" and "test": float32 (N, K), each row a distribution over the target classes.
        Empty if the run diverged.
    artefact
        The learned tensors: a prompt and its mapping, a head, or a whole model.
    history
        One entry for each evaluation on the validation split.
    chosen
        The entry of `history` that validation chose: highest accuracy, then lowest negative log-likelihood.
    """

    method: str
    budget: int | str
    seed: int
    status: str = "ok"
    reason: str | None = None
    probabilities: dict[str, np.ndarray] = field(default_factory=dict)
    artefact: dict[str, torch.Tensor] = field(default_factory=dict)
    history: list[dict] = field(default_factory=list)
    chosen: dict = field(default_factory=dict)
