"""Checks between the lists of backbones, weights, compressions and pictures."""

from collections.abc import Iterator
from typing import Any

from vpstudy.compression.family import Compression
from vpstudy.compression.registry import parse


def backbone_problems(p: Any) -> Iterator[str]:
    """Backbones that are used but neither pretrained here nor in `outside`."""
    aliases = list(p.weights)
    for name in p.outside:
        if name not in aliases:
            yield f"outside: {name!r} is not in weights; allowed: {', '.join(aliases) or 'none, weights is empty'}"
    known = [*p.pretrained, *p.outside]
    if not known:
        yield "pretrained: []: give at least 1, or backbones from elsewhere in outside"
    for key, names in {"backbones": p.backbones, "vpns.axes.backbones": p.vpns.axes.backbones}.items():
        for name in names:
            if name not in known:
                yield f"{key}: {name!r} is not in pretrained or outside; allowed: {', '.join(known)}"


def compression_problems(p: Any) -> Iterator[str]:
    """Compressions that nothing makes, or that a backbone cannot have."""
    if "dense" not in p.compressions:
        yield "compressions: 'dense' is missing, and every change is measured against it"
    outside = [name for name in p.backbones if name in p.outside]
    own = [name for name in p.backbones if name not in p.outside]
    for compression in map(parse, p.compressions):
        name = compression.name
        if problem := compression.problem(p.imp.rounds, list(p.checkpoints)):
            yield f"compressions: {name!r} {problem}"
        if compression.learns_from_dense and own:
            yield (
                f"compressions: {name!r} is for backbones in outside, and {own[0]!r} is none, which recovers on its "
                f"source: give magnitude_tuned, or take {own[0]!r} out of backbones"
            )
        if compression.trains_on_source and outside:
            yield (
                f"compressions: {name!r} trains on the source, and {outside[0]!r} of backbones is in outside: its "
                "source is not here; take out the one or the other (magnitude_distilled learns from dense)"
            )
    settings = p.hidden_cost.settings
    chosen = {
        f"hidden_cost.settings.{key}": names
        for key in ("control_compressions", "fine_tuning_compressions")
        if (names := getattr(settings, key)) != "all"
    }
    for key, names in chosen.items():
        for name in names:
            if name not in p.compressions:
                yield f"{key}: {name!r} is not in compressions; allowed: {', '.join(p.compressions)}"
    for key, names in (
        {"compressions": p.compressions, "across.axes.compressions": p.across.axes.compressions} | chosen
    ).items():
        for name in (name for name in names if name in p.compressions):
            if key != "compressions" and parse(name).screens:
                yield f"{key}: {name!r} only screens targets and is no compression: take it out of this list"
            if (control := parse(name).control) and control not in names:
                yield (
                    f"{key}: {name!r} is trained after compression, and {control!r}, dense and trained as long, is not "
                    "there: give it, too, since changes are measured against it"
                )


def without_source(p: Any, compression: Compression) -> str | None:
    """Why a network of outside cannot have a compression made for it; None if it can."""
    if problem := compression.problem(p.imp.rounds, list(p.checkpoints)):
        return problem
    if compression.screens:
        return "only screens targets and is no compression: take it out"
    return "trains on the source, which no network of outside has here" if compression.trains_on_source else None


def schedule_problems(p: Any) -> Iterator[str]:
    """Steps of pretraining beyond its end."""
    for key, step in (
        ("compressing.recovery_from", p.compressing.recovery_from),
        ("imp.rewind_step", p.imp.rewind_step),
    ):
        if step >= p.source.steps:
            yield f"{key}: {step}: must be below source.steps ({p.source.steps})"


def recovery_problems(p: Any) -> Iterator[str]:
    """A target whose pictures recovery has shown to a backbone: that is no transfer. Dense image towers saw none."""
    sections = (p.hidden_cost, p.across, p.vpns, p.compressed_towers)
    used = [s for s in sections if getattr(s.axes, "backbones", p.backbones)]
    recovering = {*p.backbones, *p.compressed_towers.axes.backbones} & set(p.outside)
    if recovering and any(p.recovery.pictures in s.axes.targets for s in used):
        yield (
            f"recovery.pictures: {p.recovery.pictures!r} is a target of the study, and a backbone that has seen it is "
            "not transferred to it; give another set"
        )
