"""Pretraining of a small CLIP on captioned glyphs."""

import torch
import torch.nn.functional as F
from open_clip.model import CLIP
from torch import Tensor

from vpstudy.data import captions
from vpstudy.models.backbones import Backbone
from vpstudy.models.clip import normalised
from vpstudy.models.text_tower import TextTower, tokenize
from vpstudy.progress import track
from vpstudy.runtime import Runtime, generator
from vpstudy.training.prompt_learning.settings import ClipSource


def contrastive_loss(images: Tensor, texts: Tensor, which: Tensor, scale: Tensor) -> Tensor:
    """CLIP's loss where pictures may share a caption: all pictures of a caption are its targets.

    `images` (N, E) and `texts` (U, E) are features of unit length, with one text for each distinct caption; `which`
    (N,) is the caption of each picture.
    """
    logits = scale * images @ texts.T
    own = F.one_hot(which, len(texts)).T.float()
    by_caption = -(logits.T.log_softmax(1) * own / own.sum(1, keepdim=True)).sum(1).mean()
    return (F.cross_entropy(logits, which) + by_caption) / 2


def pretrain(
    clip: CLIP, backbone: Backbone, settings: ClipSource, size: int, seed: int, runtime: Runtime
) -> list[float]:
    """Train by AdamW, cosine with warm-up, the image tower at a share of the rate. Returns the loss of each step."""
    clip.train().to(runtime.device)
    draw = generator("captions", seed, backbone.checkpoint)
    trunk = {id(p) for p in clip.visual.trunk.parameters()}
    image_rate = settings.learning_rate * settings.image_share * backbone.architecture.rate
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in clip.parameters() if id(p) not in trunk], "lr": settings.learning_rate},
            {"params": list(clip.visual.trunk.parameters()), "lr": image_rate},
        ],
        weight_decay=settings.weight_decay,
    )
    rates = [group["lr"] for group in optimizer.param_groups]
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=settings.steps, pct_start=0.1)
    tower, losses = TextTower(clip), []
    for _ in track(range(settings.steps), f"CLIP {backbone.name}"):
        pictures, texts, _ = captions.batch(settings.batch, draw, size)
        distinct = list(dict.fromkeys(texts))
        place = {text: k for k, text in enumerate(distinct)}
        which = torch.tensor([place[text] for text in texts], device=runtime.device)
        tokens = tokenize(distinct)
        with runtime.autocast():
            images = F.normalize(clip.visual(normalised(pictures.to(runtime.device), backbone.architecture)), dim=1)
            written = tower(tower.embed(tokens), tokens)
            loss = contrastive_loss(images.float(), written.float(), which, clip.logit_scale.exp())
        if not torch.isfinite(loss):
            raise ValueError(f"CLIP {backbone.name}: the loss is {loss.item()}; lower clip_source.learning_rate")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        with torch.no_grad():
            clip.logit_scale.clamp_(0, 4.6052)  # at most 100, as CLIP does
        losses.append(loss.item())
    clip.eval().requires_grad_(False)
    return losses
