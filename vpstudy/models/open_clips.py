"""Models of open_clip by name, with random weights, behind timm's interface: a published CLIP as a backbone."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import open_clip
import torch
from open_clip.model import CLIP, CustomTextCLIP
from torch.nn.attention import SDPBackend, sdpa_kernel

TOWERS = ("vision_cfg", "text_cfg")
# What a text tower may not have: prompts stand among words in CLIP's own encoding, before a causal transformer.
OTHER_TEXT = {
    "hf_model_name": "is a model of the library transformers",
    "hf_tokenizer_name": "has another encoding of words than CLIP's own",
    "no_causal_mask": "sees both ways",
    "embed_cls": "pools a token of its own",
}


class ClipLike:
    """What `backbones` needs of timm's interface; mixed in, so that names of weights stay open_clip's."""

    def get_classifier(self) -> None:
        """There is none: every layer is a tower's."""


def create(name: str, num_classes: int = 0, **arguments) -> CLIP | CustomTextCLIP:
    """The model `name` of open_clip, with random weights. `arguments` change its configuration, those of a tower too.

    Raises ValueError as `config`.
    """
    found = config(name, arguments)
    kind = CustomTextCLIP if found.pop("custom_text", False) else CLIP
    model = kind(**found)
    model.__class__ = type(f"ClipLike{kind.__name__}", (ClipLike, kind), {})
    return model


def config(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a model of open_clip, changed by `arguments`.

    Raises ValueError where it has no such model, or its text tower is none that prompts can enter.
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


def takes(name: str, arguments: dict[str, Any]) -> tuple[int, tuple[float, ...] | None, tuple[float, ...] | None]:
    """Side of a picture, and mean and std where all weights of the model that open_clip knows have the same.

    A model without known weights takes what CLIP does. Raises ValueError as `config`.
    """
    size = config(name, arguments)["vision_cfg"].get("image_size", 224)
    known = [open_clip.get_pretrained_cfg(name, tag) for tag in open_clip.list_pretrained_tags_by_model(name)]
    of_clip = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}
    ways = {(tuple(each["mean"]), tuple(each["std"])) for each in known or [of_clip]}
    mean, std = ways.pop() if len(ways) == 1 else (None, None)
    return size, mean, std


@contextmanager
def unfused() -> Iterator[None]:
    """Attention in its single steps, as the counter sees them: what torch fuses on a CPU, it does not."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
