"""Locked-image tuning (LiT, Zhai et al., CVPR 2022) of a linear map: it learns what a network calls things.

The network stays as it is, and is the teacher: no picture has a caption or a label. Texts of classes are matched with
the weight vectors of its classifier (DeViSE, Frome et al., NeurIPS 2013, maps pictures to words that way) and, unless
it shall be free of pictures, with its own soft answers for them. The sentence encoder stays as it is, too: the map
behind it learns, with the scale of logits, and each text passes the encoder once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from open_clip.model import CustomTextCLIP
from torch import Tensor

from vpstudy.data import captions
from vpstudy.data.class_names import Sense
from vpstudy.models.backbones import Backbone
from vpstudy.models.fused import fused
from vpstudy.models.sentence_tower import SentenceTower
from vpstudy.progress import track
from vpstudy.runtime import Runtime, generator
from vpstudy.training.prompt_learning.settings import LockedTuning

FIRST_SCALE = 20.0  # of logits, before training
SCALE_RATE = 0.02  # AdamW's learning rate of its logarithm
TEMPLATES = ("{}", *captions.OF_THINGS)
BATCH = 200  # texts that pass the encoder at once


@dataclass(frozen=True)
class Teacher:
    """A network and its answers for N unlabelled pictures, on the device."""

    vectors: Tensor  # (S, F), of the classifier
    features: Tensor  # (N, F)
    logits: Tensor  # (N, S)

    @property
    def mean(self) -> Tensor:
        """Mean feature (F,)."""
        return self.features.mean(0)


@torch.no_grad()
def features(backbone: Backbone, pictures: Tensor, runtime: Runtime, batch: int = 256) -> Tensor:
    """Features (N, F) of uint8 pictures (N, 3, H, W), by a faster copy of a network."""
    network = fused(backbone, pictures.shape[-1]).to(runtime.device)
    with runtime.autocast():
        seen = [network.features(some.to(runtime.device).float() / 255).float() for some in pictures.split(batch)]
    return torch.cat(seen)


@torch.no_grad()
def teacher(backbone: Backbone, features: Tensor) -> Teacher:
    """The answers of a network for pictures of which it gives `features` (N, F)."""
    head = backbone.classifier.to(features.device)
    vectors = head.weight.detach().flatten(1)
    return Teacher(vectors, features, F.linear(features, vectors, head.bias))


@torch.no_grad()
def embedded(clip: CustomTextCLIP, features: Tensor) -> Tensor:
    """Features (N, F) of the network → those of unit length of the model, as its whole image tower gives them."""
    return F.normalize(clip.visual.head(features), dim=1)


def centred(vectors: Tensor) -> Tensor:
    """Vectors (N, F) less their mean, of unit length."""
    return F.normalize(vectors - vectors.mean(0), dim=1)


@dataclass(frozen=True)
class Encoded:
    """Captions of S classes, encoded. The captions of a class are of K kinds, as many of a kind as there are."""

    states: Tensor  # (M, W), pooled, of all captions
    first: Tensor  # (S, K): where those of a class and kind begin
    count: Tensor  # (S, K): how many they are

    def draw(self, classes: Tensor, draw: torch.Generator) -> Tensor:
        """States (N, W) of a caption of each of N classes: a kind, then one of its captions."""
        kind = torch.randint(self.first.shape[1], (len(classes),), generator=draw)
        place = torch.rand(len(classes), generator=draw) * self.count[classes, kind]
        return self.states[self.first[classes, kind] + place.long()]


def captioned(sense: Sense) -> list[list[str]]:
    """The captions of a class by kind: its name in templates, its synonyms in templates, its gloss."""
    named, others = ([of.format(n) for n in names for of in TEMPLATES] for names in ([sense.name], sense.synonyms))
    return [named, others or named, [sense.gloss] if sense.gloss else named]


@torch.no_grad()
def encoded(tower: SentenceTower, senses: Sequence[Sense]) -> Encoded:
    """The captions of S classes through the encoder."""
    kinds = [texts for sense in senses for texts in captioned(sense)]
    count = torch.tensor([len(texts) for texts in kinds])
    tokens = tower.tokenize([text for texts in kinds for text in texts])
    order = tower.ends(tokens).argsort(stable=True)  # texts of like length pass together
    passed = [tower.pooled(tower.embed(some), some).float() for some in track(tokens[order].split(BATCH), "captions")]
    states = torch.cat(passed)[order.argsort().to(passed[0].device)]
    return Encoded(states, (count.cumsum(0) - count).view(len(senses), -1), count.view(len(senses), -1))


def tune(
    clip: CustomTextCLIP,
    teacher: Teacher,
    senses: Sequence[Sense],
    trained: Sequence[int],
    settings: LockedTuning,
    seed: int,
    runtime: Runtime,
) -> list[float]:
    """Train the map behind the encoder of a model on the device by AdamW, cosine with warm-up.

    The map behind the network only subtracts the teacher's mean feature. Returns the loss of each step. `senses` are
    what the teacher's S classes are called; only the classes `trained` are used. Each step draws some of them and a
    caption of each: the captions are told apart by the class vectors, both ways, and give the teacher's answers among
    them for a batch of pictures. Class vectors and features are centred. Without pictures in a step, the class vectors
    alone are learned from, and features stay as they are. Raises ValueError if the loss is not finite.
    """
    s, draw = settings, generator("locked tuning", seed)
    clip.eval().requires_grad_(False)
    if s.pictures_per_step:
        clip.visual.head.proj.bias.copy_(-teacher.mean)
    clip.text.proj.requires_grad_(True)
    clip.logit_scale.requires_grad_(True)
    clip.logit_scale.data.fill_(torch.tensor(FIRST_SCALE).log())
    vectors = centred(teacher.vectors)
    images = centred(teacher.features)
    groups = [{"params": clip.text.proj.parameters(), "lr": s.learning_rate}]
    groups += [{"params": [clip.logit_scale], "lr": SCALE_RATE}]
    optimizer = torch.optim.AdamW(groups)
    rates = [s.learning_rate, SCALE_RATE]
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=s.steps, pct_start=0.1)
    tower, every, losses = SentenceTower(clip.text, runtime), torch.tensor(trained), []
    own = torch.arange(s.names, device=runtime.device)
    known = encoded(tower, senses)
    for _ in track(range(s.steps), "locked tuning"):
        chosen = every[torch.randperm(len(every), generator=draw)[: s.names]]
        batch = torch.randint(len(images), (s.pictures_per_step,), generator=draw).to(runtime.device)
        texts = tower.mapped(known.draw(chosen, draw))
        chosen, scale = chosen.to(runtime.device), clip.logit_scale.exp()
        logits = scale * vectors[chosen] @ texts.T
        loss = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
        if s.pictures_per_step:
            answers = teacher.logits[batch][:, chosen].softmax(1)
            loss = loss + F.cross_entropy(scale * images[batch] @ texts.T, answers)
        if not torch.isfinite(loss):
            raise ValueError(f"locked tuning: the loss is {loss.item()}; lower locked_tuning.learning_rate")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        with torch.no_grad():
            clip.logit_scale.clamp_(0, 4.6052)  # at most 100, as CLIP does
        losses.append(loss.item())
    clip.requires_grad_(False)
    return losses
