"""Models of open_clip by name, with random weights and timm's interface: published CLIPs as backbones."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import open_clip
import torch
from open_clip.model import CLIP, CustomTextCLIP
from torch.nn.attention import SDPBackend, sdpa_kernel

from vpstudy.models.weights import Published

TOWERS = ("vision_cfg", "text_cfg")
# Refused in text towers: prompts join words in CLIP's own encoding, before a causal transformer.
OTHER_TEXT = {
    "hf_model_name": "is a model of the library transformers",
    "hf_tokenizer_name": "has another encoding of words than CLIP's own",
    "no_causal_mask": "sees both ways",
    "embed_cls": "pools a token of its own",
}


class ClipLike:
    """The part of timm's interface that `backbones` needs; mixed in, so that weights keep open_clip's names."""

    def get_classifier(self) -> None:
        """None: every layer belongs to a tower."""


def create(name: str, num_classes: int = 0, **arguments) -> CLIP | CustomTextCLIP:
    """Model `name` of open_clip, with random weights; `arguments` and errors as in `config`."""
    found = config(name, arguments)
    kind = CustomTextCLIP if found.pop("custom_text", False) else CLIP
    model = kind(**found)
    model.__class__ = type(f"ClipLike{kind.__name__}", (ClipLike, kind), {})
    return model


def config(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Configuration of a model, changed by `arguments`, also within a tower.

    Raises ValueError for an unknown model or a text tower that prompts cannot enter.
    """
    found = open_clip.get_model_config(name) if name in open_clip.list_models() else None
    if found is None:
        raise ValueError(f"open_clip/{name}: open_clip has no such model; `open_clip.list_models()` names all")
    found |= {key: found[key] | value if key in TOWERS else value for key, value in arguments.items()}
    text = found["text_cfg"]
    reasons = [reason for key, reason in OTHER_TEXT.items() if text.get(key)]
    if "multimodal_cfg" in found:
        reasons.append("also writes captions")
    if not reasons and text.get("pool_type", "argmax") != "argmax":
        reasons.append(f"pools by {text['pool_type']!r}, not at the end of the text")
    if reasons:
        raise ValueError(
            f"open_clip/{name}: its text tower {' and '.join(reasons)}; allowed: those of CLIP's own kind, "
            "e.g. open_clip/ViT-B-16, open_clip/RN50, open_clip/EVA02-B-16"
        )
    found["vision_cfg"] |= {"timm_model_pretrained": False}  # nothing is downloaded
    return found


def published(name: str, arguments: dict[str, Any], repository: str | None) -> list[Published]:
    """The weights of a model that open_clip finds in a `repository`, ORG/REPO; else all that it knows of the model.

    Raises ValueError as `config`.
    """
    size = config(name, arguments)["vision_cfg"].get("image_size", 224)
    known = [open_clip.get_pretrained_cfg(name, tag) for tag in open_clip.list_pretrained_tags_by_model(name)]
    there = [each for each in known if each.get("hf_hub", "").split("/")[:2] == (repository or "").split("/")]
    return [
        Published(
            name, size, tuple(each["mean"]), tuple(each["std"]), {"quick_gelu": bool(each.get("quick_gelu", False))}
        )
        for each in there or known
    ]


@contextmanager
def unfused() -> Iterator[None]:
    """Run attention in single steps: the FLOP counter does not see what torch fuses on a CPU."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
