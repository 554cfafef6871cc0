"""A CLIP from elsewhere as it is kept: its weights, and what it takes."""

import dataclasses
import json
from pathlib import Path

from open_clip.model import CLIP, CustomTextCLIP
from safetensors.torch import save as serialize

from vpstudy import atomic
from vpstudy.models.architectures import Architecture


def save(clip: CLIP | CustomTextCLIP, architecture: Architecture, path: Path) -> None:
    """Write what `pretraining.load` reads, and beside it the architecture: where that changes, prompts run again."""
    takes = json.dumps(dataclasses.asdict(architecture), sort_keys=True)
    weights = {key: value.detach().cpu().contiguous() for key, value in clip.state_dict().items()}
    atomic.write_bytes(path, serialize(weights, {"architecture": takes}))
