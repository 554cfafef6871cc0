"""A backbone with K of its source logits mapped to target classes, with or without a prompt."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vpstudy.models.backbones import Backbone
from vpstudy.prompts.label_mapping import Estimate, frequency


class Subnetwork(nn.Module):
    """Maps pictures (N, 3, H, W) in [0, 1] to K target logits, each one of the S source logits.

    `backbone` is trained or pruned in place, `mapping` (K,) is the source class of each target class, and `prompt` is
    used where `prompted` is set.
    """

    def __init__(self, backbone: Backbone, mapping: Tensor, prompt: nn.Module | None = None):
        super().__init__()
        self.backbone, self.prompt = backbone, prompt
        self.register_buffer("mapping", mapping)

    def forward(self, pictures: Tensor, prompted: bool = False) -> Tensor:
        if prompted and self.prompt is not None:
            pictures = self.prompt(pictures)
        return self.backbone(pictures)[:, self.mapping]

    def loss(self, pictures: Tensor, labels: Tensor, prompted: bool = False) -> Tensor:
        return F.cross_entropy(self(pictures, prompted).float(), labels)


@torch.no_grad()
def map_labels(backbone: Backbone, pictures: Tensor, labels: Tensor, n_target: int, batch: int = 256) -> Estimate:
    """One-to-one frequency mapping of a backbone on uint8 pictures (N, 3, H, W)."""
    backbone.eval()
    logits = torch.cat([backbone(chunk.float() / 255) for chunk in pictures.split(batch)])
    return frequency(logits, labels, n_target)
