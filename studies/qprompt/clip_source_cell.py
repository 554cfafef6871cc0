"""The clip_source cell: pretrain a small CLIP on captioned glyphs and measure it zero-shot."""

import torch
from open_clip.model import CLIP, CustomTextCLIP

from studies.backbones import inputs
from studies.cells import Cell
from studies.parameters import Parameters
from studies.rows import head, row
from vpstudy.data import captions, glyphs
from vpstudy.data.target import Target
from vpstudy.data.target import load as load_target
from vpstudy.models import backbones, sentence_tower
from vpstudy.models import clip as clips
from vpstudy.models.architectures import ARCHITECTURES
from vpstudy.prompts.text import described
from vpstudy.runtime import configure, seed_for
from vpstudy.training.prompt_learning import pretraining, tasks

# depends on vpstudy/data/targets, on any of which it may measure


class ClipSourceCell:
    """A CLIP whose image tower starts from the source checkpoint of `backbone`, or a published CLIP unchanged."""

    def __init__(self, parameters: Parameters, backbone: str, checkpoint: int = 0):
        p = parameters
        self.cell = Cell.of("clip_source", "qprompt", p.scale, backbone=backbone)
        self.settings, self.pretraining = p.clip_source, p.source
        self.targets, self.origins, self.size = p.qprompt.axes.targets, p.pictures, p.source.size
        self.runtime = configure(p.execution)
        self.source = inputs.path(p, backbone, f"source/{checkpoint}.safetensors")
        self.start, self.path = backbones.load(self.source), self.source.parents[1] / f"clip/{checkpoint}.safetensors"
        self.architecture = self.start.architecture
        own = self.settings.model_dump(include={"width", "heads", "layers", "embed"})
        published = self.architecture.name not in ARCHITECTURES
        self.towers = None if published else {"size": p.source.size} | own
        self.templates = captions.OF_THINGS if published else captions.TEMPLATES

    def pretrain(self) -> tuple[CLIP | CustomTextCLIP, list[float]]:
        """The CLIP and its loss at each step; a published one has none."""
        s, start = self.pretraining, self.start
        if not self.towers:
            return start.frozen().model.to(self.runtime.device), []
        clip = clips.small_clip(self.architecture, seed=seed_for("clip", s.seed, start.checkpoint), **self.towers)
        clips.start_from(clip, start)
        losses = pretraining.pretrain(clip, start, self.settings, s.size, s.seed, self.runtime)
        return clip, losses

    def measure(self, clip: CLIP) -> list[dict]:
        """Zero-shot rows over all templates: fresh glyphs for a small CLIP, then the test pictures of each target."""
        if not self.towers:
            return self.measure_targets(clip)
        pictures, labels = glyphs.dataset(
            self.settings.held_out, seed=self.pretraining.seed, size=self.pretraining.size
        )
        features = tasks.features(clip, self.architecture, pictures, self.runtime)
        rows = [row("glyphs", self.probabilities(clip, features, captions.NAMES), labels.numpy())]
        return rows + self.measure_targets(clip)

    def measure_targets(self, clip: CLIP | CustomTextCLIP) -> list[dict]:
        """A row on the test pictures of each target."""
        rows = []
        for target in self.loaded():
            tests = torch.as_tensor(target.test)
            chances = self.probabilities(clip, self.features(clip, target, tests), tasks.class_names(target))
            rows.append(row(target.name, chances, target.labels[tests].numpy()))
        return rows

    def loaded(self) -> list[Target]:
        """The targets that it is measured on."""
        return [load_target(name, self.size, self.origins) for name in self.targets]

    def features(self, clip: CLIP | CustomTextCLIP, target: Target, chosen: torch.Tensor) -> torch.Tensor:
        """Features (N, E) of unit length of the N chosen pictures of a target."""
        return tasks.features(clip, self.architecture, target.pictures[chosen], self.runtime)

    def texts(self, clip: CLIP | CustomTextCLIP, called: list[str]) -> torch.Tensor:
        """Features (K, E) of K class names, over all templates."""
        return described(sentence_tower.of(clip), called, self.templates)

    @torch.no_grad()
    def probabilities(self, clip: CLIP | CustomTextCLIP, features: torch.Tensor, called: list[str]):
        """Probabilities (N, K) of features (N, E) of pictures and K class names."""
        return (clip.logit_scale.exp() * features @ self.texts(clip, called).T).softmax(1).cpu().numpy()

    def examples(self, n: int) -> tuple[torch.Tensor, list[str]]:
        """Glyphs with their captions."""
        return captions.batch(n, torch.Generator().manual_seed(1), self.size)[:2]

    def files(self, clip: CLIP) -> None:
        """Write the model."""
        clips.save(clip, self.architecture, self.path, self.towers)

    def result(self, clip: CLIP, rows: list[dict]) -> dict:
        facts = {
            "logit_scale": clip.logit_scale.exp().item(),
            "parameters": sum(p.numel() for p in clip.parameters()),
            "templates": list(self.templates),
        }
        identity = head(self.cell, self.runtime, **({"clip": self.settings} if self.towers else {}))
        return identity | {"facts": facts, "rows": rows}
