"""The clip_source cell of a network from elsewhere: a map from a sentence encoder to it learns, and is measured."""

import numpy as np
import torch
from open_clip.model import CustomTextCLIP
from torch import Tensor

from studies.parameters import Parameters
from studies.qprompt import picture_features
from studies.qprompt.clip_source_cell import ClipSourceCell
from studies.rows import row
from vpstudy import paths
from vpstudy.data.class_names import senses, words
from vpstudy.data.target import Target
from vpstudy.data.target import load as load_target
from vpstudy.models import clip as clips
from vpstudy.models import files
from vpstudy.runtime import generator, seed_for
from vpstudy.training.prompt_learning import locked_tuning
from vpstudy.training.prompt_learning.locked_tuning import Teacher


class LockedCell(ClipSourceCell):
    """A two-tower model whose image tower is the network `backbone`, unchanged.

    Raises FileNotFoundError or ValueError if the encoder's file is missing or another one, and ValueError if the target
    of its pictures has too few classes of the network.
    """

    def __init__(self, parameters: Parameters, backbone: str, checkpoint: int = 0):
        super().__init__(parameters, backbone, checkpoint)
        s = self.settings = parameters.locked_tuning
        self.size, self.text = s.size, files.encoder(s, paths.RAW, paths.ROOT)
        self.towers = {"size": s.size, "encoder": {"location": s.location, "sha256": s.sha256}}
        self.targets = list(dict.fromkeys([*self.targets, *s.measured_on]))
        self.data, self._seen = load_target(s.pictures, s.size, self.origins), {}
        self.names = words(self.start.class_names)
        theirs = [self.start.class_names.index(n) if n in self.start.class_names else -1 for n in self.data.class_names]
        self.source_class = torch.tensor(theirs)  # of each class of the target; -1: the network has no such class
        shared = sorted(set(theirs) - {-1})
        pool = shared or range(len(self.names))
        if s.held_out > len(pool) or s.names > len(self.names) - s.held_out:
            raise ValueError(
                f"locked_tuning: held_out: {s.held_out}, names: {s.names}: {backbone!r} has {len(self.names)} classes, "
                f"{len(shared)} of them in {s.pictures}; hold out at most these (any, if there are none), and draw at "
                "most the rest"
            )
        order = torch.randperm(len(pool), generator=generator("held-out names", s.seed))[: s.held_out]
        self.held_out = sorted(pool[k] for k in order)
        self.groups = {"held-out names": self.held_out, "shared names": shared} if shared else {}
        self.trained = [k for k in range(len(self.names)) if k not in self.held_out]

    @property
    def rest(self) -> Tensor:
        """Numbers of the target's pictures outside its test set."""
        return torch.as_tensor(np.setdiff1d(np.arange(len(self.data.labels)), self.data.test))

    def seen(self, target: Target) -> Tensor:
        """Features (N, F) of all pictures of a target from the network."""
        if target.name not in self._seen:
            self._seen[target.name] = picture_features.seen(self.source, target, self.runtime)
        return self._seen[target.name]

    def features(self, clip: CustomTextCLIP, target: Target, chosen: Tensor) -> Tensor:
        return locked_tuning.embedded(clip, self.seen(target)[chosen])

    def teacher(self, chosen: Tensor) -> Teacher:
        """The network and its answers for pictures of the target."""
        return locked_tuning.teacher(self.start, self.seen(self.data)[chosen])

    def pretrain(self) -> tuple[CustomTextCLIP, list[float]]:
        """The model and its loss at each step."""
        s = self.settings
        teacher = self.teacher(self.rest)
        seed = seed_for("clip", s.seed, self.start.checkpoint)
        clip = clips.locked(self.start, self.text, s.size, seed).to(self.runtime.device)
        losses = locked_tuning.tune(clip, teacher, senses(self.start.class_names), self.trained, s, seed, self.runtime)
        return clip, losses

    @torch.no_grad()
    def measure(self, clip: CustomTextCLIP) -> list[dict]:
        """Rows on test pictures: held-out and shared names, each beside the network's own classifier, then targets.

        Where the target has no class of the network, its held-out names are measured by their class vectors.
        """
        tests = torch.as_tensor(self.data.test)
        teacher, classes = self.teacher(tests), self.source_class[self.data.labels[tests]]
        features = self.features(clip, self.data, tests)
        rows = []
        for group, members in self.groups.items():
            place = torch.full((len(self.names) + 1,), -1)  # the last is for -1
            place[members] = torch.arange(len(members))
            inside = place[classes] >= 0
            texts = self.texts(clip, [self.names[k] for k in members])
            logits = {
                group: clip.logit_scale.exp() * features[inside] @ texts.T,
                f"{group}, classifier": teacher.logits[inside][:, members],
            }
            labels = place[classes][inside].numpy()
            rows += [row(name, of.softmax(1).cpu().numpy(), labels) for name, of in logits.items()]
        if not self.groups:
            texts = self.texts(clip, [self.names[k] for k in self.held_out])
            vectors = locked_tuning.centred(teacher.vectors)[self.held_out]
            chances = (clip.logit_scale.exp() * vectors @ texts.T).softmax(1).cpu().numpy()
            rows.append(row("class vectors of held-out names", chances, np.arange(len(self.held_out))))
        return rows + self.measure_targets(clip)

    def examples(self, n: int) -> tuple[Tensor, list[str]]:
        """Pictures that the network is asked about, and the name that it likes best among those trained on."""
        some = self.rest[:: len(self.rest) // n][:n]
        best = self.teacher(some).logits[:, self.trained].argmax(1).tolist()
        return self.data.pictures[some], [self.names[self.trained[k]] for k in best]

    def result(self, clip: CustomTextCLIP, rows: list[dict]) -> dict:
        content = super().result(clip, rows)
        held_out = [self.names[k] for k in self.held_out]
        return content | {"facts": content["facts"] | {"held_out": held_out, "trained": len(self.trained)}}
