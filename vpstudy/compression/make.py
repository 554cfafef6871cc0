"""How each family of compressions is made from the source checkpoint: one function and one line in MAKERS each."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vpstudy import paths
from vpstudy.compression import activations, channels, external, learned_steps, quantization, scores
from vpstudy.compression.compressed import Compressed
from vpstudy.compression.gradual import GradualPruning
from vpstudy.compression.iterative import load_round, round_path
from vpstudy.compression.magnitude import magnitude, prune_lowest
from vpstudy.compression.masks import Mask, release
from vpstudy.compression.names import Compression, parse, sparsity_text
from vpstudy.compression.recovery import Distillation
from vpstudy.compression.settings import Checkpoint, Checkpoints, Compressing, Source
from vpstudy.data import glyphs
from vpstudy.models import backbones
from vpstudy.models.architectures import ARCHITECTURES
from vpstudy.models.architectures import parse as parse_backbone
from vpstudy.models.backbones import Backbone
from vpstudy.runtime import Runtime, configure, generator, seed_for
from vpstudy.settings import Execution, section
from vpstudy.training.pretraining import train_on_source

BATCH = 128  # pictures of a calibration batch


@dataclass(frozen=True)
class Making:
    """All that a compression is made from.

    Attributes
    ----------
    folder
        Holds the checkpoints of the backbone.
    """

    backbone: str
    folder: Path
    source: Source
    settings: Compressing
    runtime: Runtime
    checkpoints: dict[str, Checkpoint]

    @property
    def makers(self) -> "Makers":
        """How each family is made."""
        return MAKERS

    def dense(self) -> Backbone:
        """The source checkpoint."""
        return backbones.load(self.folder / "source.safetensors").to(self.runtime.device)

    def start(self) -> Backbone:
        """The initial weights that the source checkpoint was trained from."""
        dense = self.dense()
        start = Backbone(dense.architecture, dense.class_names, self.source.seed, dense.replicate)
        return start.to(self.runtime.device)

    def pictures(self) -> tuple[Tensor, Tensor]:
        """Source pictures (N, 3, H, W) in [0, 1] and labels (N,), which no training run and no measurement sees."""
        n = self.settings.pictures
        replicate = parse_backbone(self.backbone)[1]  # each has others
        draw = generator("compressing", self.source.seed + replicate)
        labels = torch.randint(len(glyphs.class_names), (n,), generator=draw)
        pictures = glyphs.render(labels, draw, self.source.size).float() / 255
        return pictures.to(self.runtime.device), labels.to(self.runtime.device)

    def train(self, model: Backbone, stream: str, start: int, after_step=None) -> None:
        """Train on the source by its own schedule from step `start` on."""
        label = f"{stream}: training on the source"
        train_on_source(
            model, self.source, self.runtime, stream=stream, start=start, label=label, after_step=after_step
        )

    def recover(self, model: Backbone, compression: Compression, after_step=None) -> None:
        """Train a compressed dense network for the last steps of the schedule, on new pictures."""
        self.train(model, compression.name, self.settings.recovery_from, after_step)


def _dense(compression: Compression, making: Making) -> Compressed:
    return _pruned(compression, making.dense())


def _imp(compression: Compression, making: Making) -> Compressed:
    path = round_path(making.folder / "imp", compression.sparsity)
    if not path.exists():
        raise FileNotFoundError(
            f"IMP has written no round at {sparsity_text(compression.sparsity)}: put that sparsity into imp.rounds "
            "of params.yaml, then `dvc repro` (stage imp)"
        )
    weights, mask = load_round(path)
    backbone = making.dense()
    backbone.model.load_state_dict(weights)
    return _pruned(compression, backbone, mask)


def _magnitude(compression: Compression, making: Making) -> Compressed:
    backbone = making.dense()
    return _pruned(compression, backbone, magnitude(backbone.prunable, compression.sparsity))


def _magnitude_bn(compression: Compression, making: Making) -> Compressed:
    made = _magnitude(compression, making)
    _recalibrate(made.backbone, making)
    return made


def _magnitude_tuned(compression: Compression, making: Making) -> Compressed:
    made = _magnitude(compression, making)
    return _trained(made, lambda: making.recover(made.backbone, compression))


def _gradual(compression: Compression, making: Making) -> Compressed:
    backbone, begin = making.dense(), making.settings.recovery_from
    end = begin + round(0.75 * (making.source.steps - begin))  # the last quarter trains at the final sparsity
    every = max(1, (end - begin) // 20)
    pruning = GradualPruning(list(backbone.prunable), compression.sparsity, begin, end, every)
    making.recover(backbone, compression, pruning)
    return _pruned(compression, backbone, pruning.mask)


def _random(compression: Compression, making: Making) -> Compressed:
    backbone = making.start()
    seed = seed_for("random pruning", making.backbone, making.source.seed)
    return _from_scratch(compression, backbone, scores.random_scores(backbone.prunable, seed), making)


def _snip(compression: Compression, making: Making) -> Compressed:
    backbone = making.start()
    return _from_scratch(compression, backbone, scores.snip(backbone, backbone.prunable, *making.pictures()), making)


def _grasp(compression: Compression, making: Making) -> Compressed:
    backbone = making.start()
    return _from_scratch(compression, backbone, scores.grasp(backbone, backbone.prunable, *making.pictures()), making)


def _synflow(compression: Compression, making: Making) -> Compressed:
    backbone, size = making.start(), making.source.size
    mask = scores.synflow(backbone.model, backbone.prunable, compression.sparsity, (3, size, size))
    made = _pruned(compression, backbone, mask)
    return _trained(made, lambda: making.train(backbone, "pretraining", 0))


def _channels(compression: Compression, making: Making) -> Compressed:
    backbone = making.dense()
    channels.prune_channels(backbone, compression.sparsity, making.source.size)
    making.recover(backbone, compression)
    return _pruned(compression, backbone)


def _integers(compression: Compression, making: Making) -> Compressed:
    return _quantized(compression, making.dense(), {})


def _weights_and_activations(compression: Compression, making: Making) -> Compressed:
    backbone = making.dense()
    layers = [name.removesuffix(".weight") for name in backbone.prunable]
    if compression.ranges == "lsq":
        names, bits = list(backbone.prunable), compression.bits
        learned_steps.attach(backbone.model, names, bits, compression.activation_bits, _batches(backbone, making))
        making.recover(backbone, compression)
        scales, ranges = learned_steps.freeze(backbone.model)
        return _quantized(compression, backbone, ranges, scales)
    ranges = activations.calibrate(
        backbone.frozen().model, layers, _batches(backbone, making), compression.activation_bits, compression.ranges
    )
    return _quantized(compression, backbone, ranges)


def _file(compression: Compression, making: Making) -> Compressed:
    entry, backbone = making.checkpoints[compression.label], making.dense()
    path = external.fetch(entry.location, entry.sha256, paths.RAW)
    return _pruned(compression, backbone, external.load_into(backbone, path))


def _pruned(compression: Compression, backbone: Backbone, mask: Mask | None = None) -> Compressed:
    mask = mask or Mask.dense(backbone.prunable)
    mask.apply_(backbone.prunable)
    return Compressed(compression, backbone, mask)


def _trained(made: Compressed, train: Callable[[], None]) -> Compressed:
    """`made` after `train`, which its mask has survived."""
    made.mask.constrain(made.backbone.model)
    try:
        train()
    finally:
        release(made.backbone.model)
    return made


def _from_scratch(
    compression: Compression, backbone: Backbone, ranking: dict[str, Tensor], making: Making
) -> Compressed:
    """Prune at the start, then train as dense was: on the same pictures, in the same order."""
    made = _pruned(compression, backbone, prune_lowest(ranking, compression.sparsity))
    return _trained(made, lambda: making.train(backbone, "pretraining", 0))


def _quantized(
    compression: Compression,
    backbone: Backbone,
    ranges: dict[str, Tensor],
    scales: dict[str, Tensor] | None = None,
) -> Compressed:
    if compression.ranges == "mse":
        scales = {name: quantization.mse_scales(w, compression.bits) for name, w in backbone.prunable.items()}
    with torch.no_grad():
        for name, weight in backbone.prunable.items():
            weight.copy_(quantization.fake_quantize(weight, compression.bits, scales and scales[name]))
    activations.attach(backbone.model, ranges, compression.activation_bits)
    mask = Mask.dense(backbone.prunable)
    return Compressed(compression, backbone, mask, compression.bits, scales or {}, ranges)


def _batches(backbone: Backbone, making: Making) -> Iterator[Tensor]:
    """Normalised source pictures, as the layers of the model see them."""
    return (backbone.normalised(chunk) for chunk in making.pictures()[0].split(BATCH))


def _recalibrate(backbone: Backbone, making: Making) -> None:
    """New BatchNorm statistics: plain means over the batches of source pictures."""
    momenta = {m: m.momentum for m in backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)}
    for norm in momenta:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean
    backbone.train()
    with torch.no_grad():
        for batch in _batches(backbone, making):
            backbone.model(batch)
    backbone.eval()
    for norm, momentum in momenta.items():
        norm.momentum = momentum


Makers = dict[str, Callable[[Compression, Making], Compressed]]
MAKERS: Makers = {
    "dense": _dense,
    "imp": _imp,
    "magnitude": _magnitude,
    "magnitude_bn": _magnitude_bn,
    "magnitude_tuned": _magnitude_tuned,
    "gradual": _gradual,
    "random": _random,
    "snip": _snip,
    "grasp": _grasp,
    "synflow": _synflow,
    "channels": _channels,
    "int": _integers,
    "w": _weights_and_activations,
    "file": _file,
}


def making(scale: str, backbone: str) -> Making:
    """What the parameters say of how compressions are made. Raises ParameterError as `section` does."""
    made_from = (
        backbone,
        paths.MODELS / scale / backbone,
        section("source", Source, scale),
        section("compressing", Compressing, scale),
        configure(section("execution", Execution, scale)),
        section("checkpoints", Checkpoints, scale).root,
    )
    if parse_backbone(backbone)[0] in ARCHITECTURES:
        return Making(*made_from)
    from vpstudy.compression.source_free import OutsideMaking  # which imports this module

    return OutsideMaking(*made_from, section("recovery", Distillation, scale))


def make(compression: str, making: Making) -> Compressed:
    """Compress the source checkpoint as the name `compression` says.

    Raises
    ------
    ValueError
        If the name is no compression, or one that this backbone cannot have; if a checkpoint from outside does not fit
        it; if recovery diverges.
    FileNotFoundError
        If the source checkpoint, or the round of IMP that the name picks, is not there.
    """
    parsed = parse(compression)
    if parsed.family not in making.makers:
        raise ValueError(f"{compression}: only a backbone from elsewhere recovers by distillation; allowed: *_tuned")
    return making.makers[parsed.family](parsed, making)
