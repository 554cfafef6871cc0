"""Checks that backbones of `weights` can do what studies ask. Needs their libraries, which load torch."""

from collections.abc import Iterator
from pathlib import Path

from torchvision.models import ResNet18_Weights

from studies.parameters import Parameters
from vpstudy import paths
from vpstudy.compression.registry import parse
from vpstudy.models import clip as clips
from vpstudy.models import files, libraries
from vpstudy.models.architectures import Architecture
from vpstudy.models.backbones import Backbone
from vpstudy.models.weights import OutsideWeights, is_locked
from vpstudy.settings import refuse
from vpstudy.training.mask_search import channel_groups
from vpstudy.training.mask_search.methods import METHODS


def check(parameters: Parameters, this_machine: bool = True) -> None:
    """Raise ParameterError with a line for each problem; downloads and trains nothing.

    Without `this_machine`, cells run on others, whose files are not known.
    """
    problems = []
    for alias in parameters.outside:
        entry = parameters.weights[alias]
        try:
            architecture, size = libraries.architecture(alias, entry), libraries.input_size(entry)
            if this_machine or entry.published:
                files.check(entry, paths.RAW, paths.ROOT)
                class_names(entry)
            problems += misfits(parameters, architecture, size)
        except (ValueError, FileNotFoundError) as error:
            problems.append(f"weights.{alias}: {error}")
        except Exception as error:  # models raise all kinds about their arguments and sizes
            problems.append(
                f"weights.{alias}: {entry.model} cannot be made with arguments {entry.arguments} or run on pictures of "
                f"its size: {type(error).__name__}: {error}; correct arguments or size"
            )
    if this_machine and any(is_locked(parameters.weights, name) for name in parameters.clips):
        try:
            encoder = files.encoder(parameters.locked_tuning, paths.RAW, paths.ROOT)
            problems += _deep_texts(parameters, encoder.parent)
        except (ValueError, FileNotFoundError) as error:
            problems.append(f"locked_tuning.location: {error}")
    if problems:
        raise refuse(f"scale {parameters.scale}", problems)


def _deep_texts(p: Parameters, encoder: Path) -> Iterator[str]:
    """Deep text prompts that a sentence encoder in this folder has no blocks for."""
    if any(is_locked(p.weights, name) for name in p.multimodal.axes.backbones):
        most, depth = clips.blocks(encoder), p.multimodal.settings.depth
        if depth > most:
            yield f"multimodal.settings.depth: {depth}: the sentence encoder has {most} blocks; allowed: 1 to {most}"


def misfits(p: Parameters, architecture: Architecture, size: int) -> Iterator[str]:
    """Demands of the studies that a backbone made for pictures of `size` px cannot meet."""
    alias, hidden_cost, vpns = architecture.name, p.hidden_cost.settings, p.vpns.axes
    clip, of_clip = ("locked_tuning", p.locked_tuning) if is_locked(p.weights, alias) else ("source", p.source)
    for key, backbones, what, seen in (
        ("backbones", p.backbones, "hidden_cost.settings.visual_prompting.canvas", hidden_cost.visual_prompting.canvas),
        ("backbones", p.backbones, "hidden_cost.settings.linear_probe.size", hidden_cost.linear_probe.size),
        ("backbones", p.backbones, "hidden_cost.settings.fine_tuning.size", hidden_cost.fine_tuning.size),
        ("vpns.axes.backbones", vpns.backbones, "vpns.settings.canvas", p.vpns.settings.canvas),
        ("clips", p.clips, f"{clip}.size", of_clip.size),
    ):
        if alias in backbones and seen != size and not architecture.any_size:
            yield (
                f"{what}: {seen}: {alias!r} takes only {size} px; give that, take {alias!r} out of {key}, or let it "
                "take others by its arguments: {dynamic_img_size: true} for ViTs of timm, {strict_img_size: false} for "
                "Swins"
            )
    if alias in p.multimodal.axes.backbones and not is_locked(p.weights, alias):
        blocks, depth = architecture.blocks, p.multimodal.settings.depth
        if blocks is None:
            yield (
                f"multimodal.axes.backbones: {alias!r} has no transformer for pictures whose blocks such prompts can "
                "enter; take it out, or give one that has, e.g. open_clip/ViT-B-16"
            )
        elif depth > blocks:
            yield (
                f"multimodal.settings.depth: {depth}: {alias!r} has {blocks} blocks in both towers; "
                f"allowed: 1 to {blocks}"
            )
    network = Backbone(architecture, ["one", "other"])
    for name in p.compressions if alias in p.backbones else ():
        try:
            parse(name).check(network)
        except ValueError as error:
            yield f"compressions: {name!r}: {alias!r}: {error}"
    channels = [name for name in vpns.pruners if METHODS[name].role == "channels"]
    if alias in vpns.backbones and channels:
        try:
            channel_groups.groups(network, p.vpns.settings.canvas)
        except ValueError as error:
            yield f"vpns.axes.pruners: {channels[0]!r}: {error}; or take {alias!r} out of vpns.axes.backbones"
    rounding = [name for name in p.compressions if parse(name).activation_bits]
    if alias in p.backbones and rounding and (missed := libraries.unreached(architecture, size)):
        yield (
            f"compressions: {rounding[0]!r} rounds what enters each layer, and {alias!r} has {len(missed)} that it "
            f"does not call as layers, such as {missed[0]}; take it out, or {alias!r} out of backbones"
        )


def class_names(entry: OutsideWeights) -> list[str]:
    """Source classes in the order of the logits. Raises ValueError for a missing file or repeated names."""
    if entry.is_clip:
        return []
    if entry.classes is None:
        return list(ResNet18_Weights.DEFAULT.meta["categories"])  # ImageNet-1k, sorted by WordNet's number
    path = paths.ROOT / entry.classes
    if not path.exists():
        raise ValueError(f"classes: {entry.classes}: there is no such file; give a text file with a name a line")
    names = path.read_text(encoding="utf-8").splitlines()
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"classes: {entry.classes}: each name may stand only once; repeated: {', '.join(repeated)}")
    return names
