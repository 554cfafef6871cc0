"""Which backbones prompts of the qprompt study are learned for: CLIPs made here, and those from elsewhere."""

from collections.abc import Iterator
from typing import Any

from studies.qprompt.multimodal_settings import multimodal_problems

CLIP = "open_clip/"  # begins the model of an entry of `weights` that is one


def clip_problems(content: dict[str, Any]) -> Iterator[str]:
    """Towers that nothing makes, CLIPs where none can stand, and what towers do not allow, from raw content."""
    aliases = _aliases(content)
    elsewhere = [name for name in _names(content, "outside") if name in aliases]
    # The backbones of protocols are of those in qprompt, which `protocol_problems` tells.
    for key, maker in {"clips": "pretrained", "qprompt.backbones": "clips", "multimodal.backbones": "clips"}.items():
        if not isinstance(content.get(maker), list):
            continue  # told with its own key
        allowed = content[maker] + (elsewhere if key == "clips" else [])
        for name in _names(content, key):
            if name not in allowed:
                listed = ", ".join(map(str, allowed)) or "none, it is empty"
                yield f"{key}: {name!r} is not in {maker}; allowed: {listed}"
    for key in ("backbones", "vpns.backbones"):
        for name in _names(content, key):
            if name in elsewhere:
                yield f"{key}: {name!r} is a CLIP, which has no classes of its own; put it into clips"
    # What towers from elsewhere allow only their library knows: `check` tells, and the stage weights.
    here = [name for name in _names(content, "multimodal.backbones") if name not in aliases]
    section = content.get("multimodal")
    changed = {"multimodal": section | {"backbones": here}} if isinstance(section, dict) else {}
    yield from multimodal_problems(content | changed)


def _aliases(content: dict[str, Any]) -> list[str]:
    weights = content.get("weights")
    entries = weights.items() if isinstance(weights, dict) else ()
    return [name for name, each in entries if isinstance(each, dict) and str(each.get("model")).startswith(CLIP)]


def _names(content: dict[str, Any], key: str) -> list[Any]:
    section, _, axis = key.rpartition(".")
    values = content.get(section) if section else content
    names = values.get(axis) if isinstance(values, dict) else None
    return names if isinstance(names, list) else []
