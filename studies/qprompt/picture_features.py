"""Features of a target's pictures in two-tower models: no text prompt changes them."""

import hashlib
import inspect
from pathlib import Path

import torch
from open_clip.model import CLIP, CustomTextCLIP
from safetensors.torch import load_file, save
from torch import Tensor

from vpstudy import atomic, paths
from vpstudy.data.target import Target
from vpstudy.models import backbones, fused, sentence_tower
from vpstudy.models import clip as clips
from vpstudy.models.architectures import Architecture
from vpstudy.models.sentence_tower import SentenceTower
from vpstudy.runtime import Runtime
from vpstudy.training.prompt_learning import locked_tuning, tasks


def seen(source: Path, target: Target, runtime: Runtime) -> Tensor:
    """Features (N, F) of all pictures of a target by the network in the file `source`.

    They are kept on this machine, for every cell with the same network, pictures and code.
    """
    made_of = hashlib.sha256(source.read_bytes())
    for code in (fused, locked_tuning.features):
        made_of.update(inspect.getsource(code).encode())
    made_of.update(target.pictures.numpy())
    made_of.update(f"{runtime.precision} {runtime.device.type} {torch.__version__}".encode())
    file = paths.FEATURES / f"{target.name}-{made_of.hexdigest()[:16]}.safetensors"
    if not file.exists():
        found = locked_tuning.features(backbones.load(source), target.pictures, runtime)
        atomic.write_bytes(file, save({"features": found.cpu().contiguous()}))
    return load_file(file)["features"].to(runtime.device)


def features(
    clip: CLIP | CustomTextCLIP,
    architecture: Architecture,
    model: Path,
    target: Target,
    chosen: Tensor | slice,
    runtime: Runtime,
) -> Tensor:
    """Features (N, E) of unit length of chosen pictures of a target by a model from the file `model`."""
    if isinstance(sentence_tower.of(clip), SentenceTower):
        return locked_tuning.embedded(clip, seen(clips.source(model), target, runtime))[chosen]
    return tasks.features(clip, architecture, target.pictures[chosen], runtime)
