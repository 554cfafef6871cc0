"""Which backbones prompts of the qprompt study are learned for: CLIPs made here, and those from elsewhere."""

from collections.abc import Iterator
from typing import Any


def problems(p: Any) -> Iterator[str]:
    """Towers that nothing makes, and CLIPs where none can stand, in the parameters `p`."""
    aliases = [name for name, entry in p.weights.root.items() if entry.is_clip]
    ready = [name for name in p.outside if name in aliases]
    # The backbones of protocols are of those in qprompt, which has a check of its own.
    for key, given, maker, allowed in (
        ("clips", p.clips, "pretrained", [*p.pretrained, *ready]),
        ("qprompt.axes.backbones", p.qprompt.axes.backbones, "clips", p.clips),
        ("multimodal.axes.backbones", p.multimodal.axes.backbones, "clips", p.clips),
    ):
        for name in given:
            if name not in allowed:
                yield f"{key}: {name!r} is not in {maker}; allowed: {', '.join(allowed) or 'none, it is empty'}"
    for key, given in (("backbones", p.backbones), ("vpns.axes.backbones", p.vpns.axes.backbones)):
        for name in given:
            if name in ready:
                yield f"{key}: {name!r} is a CLIP, which has no classes of its own; put it into clips"
