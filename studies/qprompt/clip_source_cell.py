"""The clip_source cell: pretrain a small CLIP on captioned glyphs, and measure it zero-shot."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from open_clip.model import CLIP, CustomTextCLIP

from studies import results
from studies.cells import Cell
from studies.rows import head, row
from vpstudy import paths
from vpstudy.compression.settings import Source
from vpstudy.data import captions, glyphs
from vpstudy.data.target import load as load_target
from vpstudy.models import backbones
from vpstudy.models.architectures import ARCHITECTURES
from vpstudy.models.clip import TextTower, small_clip
from vpstudy.prompts.text import described
from vpstudy.runtime import configure
from vpstudy.settings import Execution, section
from vpstudy.training.prompt_learning import names, pretraining
from vpstudy.training.prompt_learning.settings import ClipSource

BATCH = 256  # pictures of a forward pass


@dataclass
class ClipSourceCell:
    """A CLIP whose image tower starts from the source checkpoint of `backbone`, or one from elsewhere as it is."""

    scale: str
    backbone: str

    def __post_init__(self):
        self.cell = Cell.of("clip_source", "qprompt", self.scale, backbone=self.backbone)
        self.settings = section("clip_source", ClipSource, self.scale)
        self.source = section("source", Source, self.scale)
        self.runtime = configure(section("execution", Execution, self.scale))
        self.folder = paths.MODELS / self.scale / self.backbone
        self.start = backbones.load(self.folder / "source.safetensors")
        self.architecture = self.start.architecture
        self.published = self.architecture.name not in ARCHITECTURES

    def pretrain(self) -> tuple[CLIP | CustomTextCLIP, list[float]]:
        """The CLIP, and the loss of each step: none of one from elsewhere."""
        s, start = self.source, self.start
        if self.published:
            return start.frozen().model.to(self.runtime.device), []
        towers = pretraining.towers(self.settings, s.size)
        clip = small_clip(self.architecture, seed=s.seed + start.replicate, **towers)
        pretraining.start_from(clip, start)
        losses = pretraining.pretrain(clip, start, self.settings, s.size, s.seed, self.runtime)
        return clip, losses

    def measure(self, clip: CLIP) -> list[dict]:
        """Zero-shot, in all templates: fresh glyphs, and each target of this scale without any training."""
        tower = TextTower(clip)
        pictures, labels = glyphs.dataset(self.settings.held_out, seed=self.source.seed, size=self.source.size)
        texts = described(tower, captions.NAMES, captions.TEMPLATES)
        rows = [row("glyphs", self._probabilities(clip, pictures, texts), labels.numpy())]
        for name in self.settings.targets:
            target = load_target(name, self.source.size)
            texts = described(tower, names.of_classes(name, target.class_names), captions.TEMPLATES)
            probabilities = self._probabilities(clip, target.pictures[torch.as_tensor(target.test)], texts)
            rows.append(row(name, probabilities, target.labels[torch.as_tensor(target.test)].numpy()))
        return rows

    def _probabilities(self, clip: CLIP, pictures: torch.Tensor, texts: torch.Tensor):
        with torch.inference_mode(), self.runtime.autocast():
            features = [
                F.normalize(
                    clip.visual(pretraining.normalised(chunk.to(self.runtime.device), self.architecture)), dim=1
                )
                for chunk in pictures.split(BATCH)
            ]
        return (clip.logit_scale.exp() * torch.cat(features) @ texts.T).softmax(1).cpu().numpy()

    def save(self, clip: CLIP, rows: list[dict]) -> None:
        """Write the model, then the record."""
        towers = None if self.published else pretraining.towers(self.settings, self.source.size)
        pretraining.save(clip, self.architecture, self.folder / "clip.safetensors", towers)
        record = head(self.cell, self.runtime, **({} if self.published else {"clip": self.settings}))
        facts = {
            "logit_scale": clip.logit_scale.exp().item(),
            "parameters": sum(p.numel() for p in clip.parameters()),
            "templates": list(captions.TEMPLATES),
        }
        results.write(results.path(self.cell), record | {"facts": facts, "rows": rows})
