"""Checks that every target is known and has pictures: embedded, fetched or on this machine."""

from collections.abc import Iterator
from typing import Any

from vpstudy.data.origin import origin_of
from vpstudy.data.registry import EMBEDDED, KNOWN
from vpstudy.settings import unknown

STUDIES = (
    "hidden_cost", "real_network", "vpns", "qprompt", "across", "few_shot", "other_pictures", "multimodal",
    "compressed_towers",
)  # fmt: skip


def problems(p: Any) -> Iterator[str]:
    """Unknown targets, and targets that no stage fetches."""
    known = dict.fromkeys([*EMBEDDED, *KNOWN, *p.pictures])
    for key, names, is_used in _targets(p):
        for i, name in enumerate(names):
            if name not in known:
                where = "vpstudy/data/registry.py, or an entry of pictures"
                place = key if key.endswith((".pictures", ".held_out")) else f"{key}.{i}"
                yield f"{place}: {name!r}: {unknown(name, known, 'target', where)}"
            elif is_used and name not in EMBEDDED and name not in p.fetched:
                yield f"{key}: {name!r} is not embedded; put it into fetched, which prepares its pictures"


def _targets(p: Any) -> Iterator[tuple[str, list[str], bool]]:
    """Key, names and use by a cell of every list of targets; sections with other problems are left out."""
    backbones = getattr(p, "backbones", [])
    for study in STUDIES:
        if hasattr(p, study):
            section = getattr(p, study)
            is_used = bool(getattr(section.axes, "backbones", backbones))
            yield f"{study}.axes.targets", section.axes.targets, is_used
            if study == "other_pictures":
                yield "other_pictures.settings.others", section.settings.others, is_used
    yield "fetched", p.fetched, False
    if hasattr(p, "locked_tuning"):
        entries = [p.weights.get(name) for name in p.clips] if hasattr(p, "clips") and hasattr(p, "weights") else []
        is_used = any(entry and not entry.is_clip for entry in entries)
        for key, names in (("pictures", [p.locked_tuning.pictures]), ("measured_on", p.locked_tuning.measured_on)):
            yield f"locked_tuning.{key}", names, is_used
    if hasattr(p, "recovery"):
        others = [
            getattr(p, study).axes.backbones for study in ("real_network", "compressed_towers") if hasattr(p, study)
        ]
        for key in ("pictures", "held_out"):
            yield f"recovery.{key}", [getattr(p.recovery, key)], bool(backbones or any(others))


def missing(p: Any) -> Iterator[str]:
    """Folders that fetched targets need but this machine lacks, and how to get them."""
    for alias in p.fetched:
        if (alias in p.pictures or alias in KNOWN) and (problem := origin_of(alias, p.pictures).missing(alias)):
            yield f"fetched: {alias!r}: {problem}"
