"""Models of open_clip: build a small CLIP around a glyph backbone, or join two towers; save any, and load it again."""

import json
from pathlib import Path
from typing import Any

import torch
from open_clip.model import CLIP, CustomTextCLIP
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as serialize
from timm.models import is_model, register_model
from torch import Tensor, nn

import vpstudy.models.vit  # noqa: F401 (registers itself with timm)
from vpstudy import atomic, paths
from vpstudy.models import backbones, files
from vpstudy.models.architectures import Architecture
from vpstudy.models.backbones import Backbone, network
from vpstudy.models.weights import Encoder
from vpstudy.runtime import seed_for

BESIDE = ("config.json", "tokenizer.json")  # the file of a sentence encoder: what builds it
LEARNED = ("text.proj.weight", "visual.head.proj.bias", "logit_scale")  # all that two locked towers do not hold


def _registered_tower(architecture: Architecture) -> str:
    """Register an architecture with timm, and so with open_clip, as an image tower; return its name."""
    name = f"vpstudy_{architecture.name}"

    def build(pretrained: bool = False, **arguments) -> nn.Module:
        own = {k: v for k, v in arguments.items() if k not in ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")}
        model = network(architecture, **own)
        model.default_cfg = getattr(model, "default_cfg", {})  # open_clip looks up pool_size in it
        return model

    if not is_model(name):
        build.__name__, build.__module__ = name, __name__
        register_model(build)
    return name


def small_clip(
    architecture: Architecture,
    size: int,
    seed: int,
    *,
    width: int = 128,
    heads: int = 4,
    layers: int = 3,
    embed: int = 64,
) -> CLIP:
    """CLIP with random weights, for pictures of side `size`, px; `width`, `heads`, `layers` are the text tower's."""
    tower = _registered_tower(architecture)
    vision = {"timm_model_name": tower, "timm_pool": "avg", "timm_proj": "linear", "image_size": size}
    text = {"context_length": 77, "vocab_size": 49408, "width": width, "heads": heads, "layers": layers}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for("clip", architecture.name, seed))
        clip = CLIP(embed, vision, text)
    clip.of_glyphs = True
    return clip


def two_towers(architecture: Architecture, text: Path, size: int, seed: int) -> CustomTextCLIP:
    """An image network for pictures of side `size`, px, and the sentence encoder in the folder `text` of transformers.

    Texts are pooled by the mean over tokens and mapped linearly to the width of the network's features, which a linear
    map with bias follows. Weights are random. Raises ValueError for a folder without a configuration or a tokenizer.
    """
    if missing := [name for name in BESIDE if not (text / name).is_file()]:
        raise ValueError(f"{text}: there is no {' and no '.join(missing)}; give a sentence encoder with its tokenizer")
    vision = {"timm_model_name": _registered_tower(architecture), "timm_pool": "avg", "image_size": size}
    encoder = {"hf_model_name": str(text), "hf_model_pretrained": False, "hf_pooler_type": "mean_pooler"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for("clip", architecture.name, seed))
        clip = CustomTextCLIP(
            network(architecture).num_features,
            vision | {"timm_proj": "linear", "timm_proj_bias": True},
            encoder | {"hf_proj_type": "linear"},
        )
    clip.visual.to(memory_format=torch.channels_last)  # twice the speed
    return clip


def start_from(clip: CLIP | CustomTextCLIP, backbone: Backbone) -> None:
    """Load the weights of a source backbone into the image tower, except its classifier."""
    known = clip.visual.trunk.state_dict()
    clip.visual.trunk.load_state_dict({k: v for k, v in backbone.model.state_dict().items() if k in known})


@torch.no_grad()
def locked(backbone: Backbone, encoder: Path, size: int, seed: int) -> CustomTextCLIP:
    """Two towers with the weights of a network and of a sentence encoder's file; heads of the encoder are left out.

    The map behind the network is the identity, and that behind the encoder random. Raises RuntimeError if weights are
    missing or of another shape, and as `two_towers`.
    """
    clip = two_towers(backbone.architecture, encoder.parent, size, seed)
    start_from(clip, backbone)
    given, known = load_file(encoder), clip.text.transformer.state_dict()
    clip.text.transformer.load_state_dict({name: value for name, value in given.items() if name in known})
    nn.init.eye_(clip.visual.head.proj.weight)
    nn.init.zeros_(clip.visual.head.proj.bias)
    return clip


def blocks(text: Path) -> int:
    """Number of blocks of the sentence encoder in a folder of transformers."""
    return json.loads((text / "config.json").read_text(encoding="utf-8"))["num_hidden_layers"]


def normalised(pictures: Tensor, architecture: Architecture) -> Tensor:
    """Normalise uint8 pictures (N, 3, H, W) for the image tower."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (architecture.mean, architecture.std))
    return (pictures.float() / 255 - mean.to(pictures.device)) / std.to(pictures.device)


def save(
    clip: CLIP | CustomTextCLIP, architecture: Architecture, path: Path, towers: dict[str, Any] | None = None
) -> None:
    """Write the weights with `architecture`, and with `towers`: the arguments of `small_clip`, or those of `locked`.

    The latter are size and `encoder`, the entry of the sentence encoder; of these towers the file holds what is in no
    other: the map between them.
    """
    weights = {k: v.detach().cpu().contiguous() for k, v in clip.state_dict().items()}
    if is_locked(towers):
        weights = {name: weights[name] for name in LEARNED}
    description = {"architecture": architecture.to_dict(), "towers": towers}
    atomic.write_bytes(path, serialize(weights, {"clip": json.dumps(description, sort_keys=True)}))


def is_locked(towers: dict[str, Any] | None) -> bool:
    """Whether `towers` are those of a network and a sentence encoder, both as they are elsewhere."""
    return "encoder" in (towers or {})


def load(path: Path) -> tuple[CLIP | CustomTextCLIP, Architecture]:
    """Load a CLIP written by `save`, frozen. Locked towers take their network from the folder `source` beside its own.

    Raises FileNotFoundError, naming the stage that makes it, and ValueError for a file of another kind.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"there is no {path.parent.name}/{path.name} yet: `dvc repro` makes it (stage clip_source)"
        )
    try:
        with safe_open(path, "pt") as checkpoint:
            description = json.loads((checkpoint.metadata() or {})["clip"])
    except (SafetensorError, KeyError):
        raise ValueError(
            f"{path}: no two-tower model of this study; give one that the stage clip_source writes:"
            " data/models/SCALE/BACKBONE/clip/0.safetensors"
        ) from None
    architecture = Architecture.from_dict(description["architecture"])
    towers, learned = description["towers"], load_file(path)
    if is_locked(towers):
        encoder = files.encoder(Encoder(**towers["encoder"]), paths.RAW, paths.ROOT)
        clip = locked(backbones.load(source(path)), encoder, towers["size"], seed=0)
        clip.load_state_dict(clip.state_dict() | learned)
    else:
        clip = small_clip(architecture, seed=0, **towers) if towers else network(architecture)
        clip.load_state_dict(learned)
    return clip.eval().requires_grad_(False), architecture


def source(path: Path) -> Path:
    """The file of the network that stands in the locked towers of the file `path`."""
    return path.parents[1] / "source" / path.name
