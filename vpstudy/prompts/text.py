"""Text prompts: learned vectors before the class name (CoOp), optionally shifted by the picture (CoCoOp)."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from open_clip.transformer import QuickGELU
from torch import Tensor, nn

from vpstudy.models.sentence_tower import Tower, ends, tokenize
from vpstudy.models.text_tower import joined

DEVIATION = 0.02  # of random vectors


@torch.no_grad()
def first_context(tower: Tower, context: str | int, seed: int) -> Tensor:
    """Initial context (M, width): the embeddings of words, or a number of random vectors."""
    device = tower.embed(tokenize(tower, [""])).device
    if isinstance(context, str):
        tokens = tokenize(tower, [context])
        return tower.embed(tokens)[0, 1 : int(ends(tower, tokens))].clone()
    draw = torch.Generator().manual_seed(seed)
    return (DEVIATION * torch.randn(context, tower.width, generator=draw)).to(device)


class TextPrompt(nn.Module):
    """Context vectors before the class name (CoOp, Zhou et al., IJCV 2022).

    Learns a copy of `context` (M, width), or (K, M, width), one for each class; the tower stays unchanged. In the
    `middle` stands the class name, with half of the vectors behind it. Raises ValueError as `placeholders`.
    """

    def __init__(self, tower: Tower, class_names: Sequence[str], context: Tensor, middle: bool = False):
        super().__init__()
        self.tower, n = tower, context.shape[-2]
        self.behind = n // 2 if middle else 0
        tokens, embedded = placeholders(tower, class_names, n, self.behind)
        self.register_buffer("tokens", tokens, persistent=False)
        self.register_buffer("embedded", embedded, persistent=False)
        self.context = nn.Parameter(context.detach().clone())

    def _joined(self, context: Tensor) -> Tensor:
        """Embeddings (K, L, width) with the context in its places."""
        if not self.behind:
            return joined(self.embedded, context)
        before = context[..., : -self.behind, :]
        # before the full stop and the end of the text
        places = (ends(self.tower, self.tokens) - 1)[:, None] - torch.arange(self.behind, 0, -1)
        places = places[..., None].expand(-1, -1, context.shape[-1]).to(context.device)
        behind = context[..., -self.behind :, :].expand(len(places), -1, -1)
        return joined(self.embedded, before).scatter(1, places, behind)

    def forward(self, shift: Tensor | None = None) -> Tensor:
        """Features of unit length: (K, E), or (N, K, E) with a context shift (N, width) for each picture.

        A shift (K, M, width) is that of each class.
        """
        if shift is None or shift.dim() == 3:
            context = self.context if shift is None else self.context + shift
            return self.tower(self._joined(context), self.tokens)
        shifted = self.context.expand(len(self.tokens), -1, -1) + shift[:, None, None]
        embedded = torch.cat([self._joined(one) for one in shifted])
        features = self.tower(embedded, self.tokens.repeat(len(shift), 1))
        return features.view(len(shift), len(self.tokens), -1)


@torch.no_grad()
def placeholders(tower: Tower, class_names: Sequence[str], n_context: int, behind: int = 0) -> tuple[Tensor, Tensor]:
    """Token ids (K, L) and embeddings (K, L, width) of `n_context` placeholders and the class names.

    As many of them as `behind` says stand behind the name. Placeholders are one token each, so that the end of the text
    is where the embeddings have it. Raises ValueError if there are no classes or vectors, a prompt is too long for the
    tower, or as `refuse_twins`.
    """
    if not class_names or not n_context:
        raise ValueError(f"{len(class_names)} classes, {n_context} context vectors: give at least one of each")
    before, after = ["X"] * (n_context - behind), ["X"] * behind
    tokens = tokenize(tower, [" ".join([*before, name, *after]) + "." for name in class_names])
    if bool((tokens[:, -1] != 0).any()):
        raise ValueError(f"a prompt of {n_context} vectors and its class name exceed {tokens.shape[1]} tokens")
    refuse_twins(class_names, tokens)
    return tokens, tower.embed(tokens).clone()


def refuse_twins(class_names: Sequence[str], tokens: Tensor) -> None:
    """Raise ValueError if two classes have the same row of `tokens` (K, L): no text could tell them apart."""
    first: dict[tuple[int, ...], str] = {}
    for name, row in zip(class_names, map(tuple, tokens.tolist()), strict=True):
        if row in first:
            cut = f", as texts end at {tokens.shape[1]}" if row[-1] else ""
            raise ValueError(
                f"classes {first[row]!r} and {name!r} are the same tokens in a text{cut}; give them other names, in"
                " a target those in class_names of its entry of pictures"
            )
        first[row] = name


class Network(nn.Module):
    """Two linear layers that shift a context of `n_context` vectors of `width`, from features of width `n_features`."""

    of_pictures: ClassVar[bool]  # it shifts by each picture's features; else by each class's hand-written text
    share: ClassVar[int]  # `n_features` per hidden unit

    def __init__(self, n_features: int, n_context: int, width: int, seed: int):
        super().__init__()
        self.n_context = n_context
        hidden = max(1, n_features // self.share)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.layers = self.build(n_features, hidden, n_context, width)

    @classmethod
    def count(cls, n_features: int, n_context: int, width: int) -> int:
        """Number of weights."""
        return sum(p.numel() for p in cls(n_features, n_context, width, seed=0).parameters())


class MetaNetwork(Network):
    """The network of CoCoOp (Zhou et al., CVPR 2022): picture features (N, E) to context shifts (N, width)."""

    of_pictures, share = True, 16

    def build(self, n_features: int, hidden: int, n_context: int, width: int) -> nn.Sequential:
        return nn.Sequential(nn.Linear(n_features, hidden), nn.ReLU(), nn.Linear(hidden, width))

    def forward(self, features: Tensor) -> Tensor:
        return self.layers(features)


class ClassNetwork(Network):
    """The network of TCP (Yao et al., CVPR 2024): hand-written texts (K, E) to context shifts (K, M, width).

    As published it has a quarter of E in its middle. Its last layer starts at zero: learning starts at the words.
    """

    of_pictures, share = False, 4

    def build(self, n_features: int, hidden: int, n_context: int, width: int) -> nn.Sequential:
        layers = nn.Sequential(nn.Linear(n_features, hidden), QuickGELU(), nn.Linear(hidden, n_context * width))
        for weights in layers[-1].parameters():
            nn.init.zeros_(weights)
        return layers

    def forward(self, texts: Tensor) -> Tensor:
        return self.layers(texts).unflatten(1, (self.n_context, -1))


NETWORKS = {kind.__name__: kind for kind in (MetaNetwork, ClassNetwork)}


@torch.no_grad()
def described(tower: Tower, class_names: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Zero-shot features (K, E) of unit length, averaged over templates such as "a picture of a {}".

    Raises ValueError for a template without {}, or as `refuse_twins`.
    """
    features = []
    for template in templates:
        if "{}" not in template:
            raise ValueError(f"template {template!r} has no place for the class name; write {{}} there")
        tokens = tokenize(tower, [template.format(name) for name in class_names])
        refuse_twins(class_names, tokens)
        features.append(tower(tower.embed(tokens), tokens))
    return nn.functional.normalize(torch.stack(features).mean(0), dim=1)
