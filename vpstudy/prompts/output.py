"""A learned output layer on source logits: the label mapping that is trained with the prompt."""

import torch
from torch import Tensor, nn


class LinearOutput(nn.Module):
    """Source logits (N, S) to target logits (N, K), by a weight and a bias that are learned.

    It starts as a one-to-one mapping: until the first step, target logits are the mapped source logits, to the bit.

    Parameters
    ----------
    n_source, n_target
        S and K.
    mapping
        (K,), the source class that each target class starts from.
    """

    def __init__(self, n_source: int, n_target: int, mapping: Tensor):
        super().__init__()
        self.linear = nn.utils.skip_init(nn.Linear, n_source, n_target)
        self.start_from(mapping)

    @torch.no_grad()
    def start_from(self, mapping: Tensor) -> None:
        """Set the layer to a one-to-one mapping (K,). Raises ValueError if its length is not K."""
        if mapping.shape != (self.linear.out_features,):
            raise ValueError(f"mapping has shape {tuple(mapping.shape)}; expected ({self.linear.out_features},)")
        self.linear.weight.zero_()
        self.linear.weight[torch.arange(len(mapping)), mapping.to(self.linear.weight.device)] = 1.0
        self.linear.bias.zero_()

    def forward(self, logits: Tensor) -> Tensor:
        return self.linear(logits)
