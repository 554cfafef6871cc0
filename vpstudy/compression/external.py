"""Checkpoints from outside: loaded strictly, and their sparsity measured."""

from pathlib import Path

from vpstudy.compression.masks import Mask
from vpstudy.models import checkpoints
from vpstudy.models.backbones import Backbone


def load_into(backbone: Backbone, path: Path) -> Mask:
    """Load a checkpoint into `backbone` and return the mask of its nonzero prunable weights.

    Raises one ValueError if it does not fit; see `checkpoints.load`.
    """
    checkpoints.load(backbone.model, path, backbone.name)
    return Mask({name: weight != 0 for name, weight in backbone.prunable.items()})
