"""Whether the pictures of every target are embedded, fetched, or on this machine."""

from collections.abc import Iterator
from typing import Any

from vpstudy.data.settings import advice, source_of
from vpstudy.data.targets import MODULES


def problems(p: Any) -> Iterator[str]:
    """Targets that no stage fetches."""
    chosen = {"hidden_cost.axes.targets": p.hidden_cost.axes.targets} if p.backbones else {}
    for study in ("vpns", "qprompt", "across", "protocols"):
        axes = getattr(p, study).axes
        if axes.backbones:
            chosen[f"{study}.axes.targets"] = axes.targets
    if p.protocols.axes.backbones:
        chosen["protocols.settings.others"] = p.protocols.settings.others
    for key, names in chosen.items():
        for name in names:
            if name not in MODULES and name not in p.fetched:
                yield f"{key}: {name!r} is not embedded; put it into fetched, which prepares its pictures"


def absent(p: Any) -> Iterator[str]:
    """Folders that fetched targets need and this machine lacks, and how to get them."""
    for alias in p.fetched:
        source = source_of(alias, {name: each.model_dump() for name, each in p.pictures.root.items()})
        if problem := source.problem():
            yield f"fetched: {alias!r}: {problem}; {advice(alias, source)}"
