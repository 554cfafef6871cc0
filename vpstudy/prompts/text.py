"""Text prompts: learned vectors among the words that describe a class (CoOp), or shifted by the picture (CoCoOp)."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from vpstudy.models.clip import TextTower, tokenize

Position = Literal["end", "middle"]


class TextPrompt(nn.Module):
    """Context vectors that stand before the name of a class, or on both sides of it (CoOp, Zhou et al., IJCV 2022).

    Parameters
    ----------
    tower
        The text tower that the prompt is for; it stays as it is.
    class_names
        K names, of any number of words.
    n_context
        Number M of vectors.
    words
        Text that the vectors start from, of exactly M tokens; without it they are drawn, with deviation 0.02.
    position
        Where the name stands: at the "end", or in the "middle", behind ⌊M / 2⌋ vectors.
    class_specific
        A context for each class, (K, M, width), in place of one for all, (M, width).

    Raises
    ------
    ValueError
        If `words` has another number of tokens, there is no class or vector, or a prompt is too long for the tower.
    """

    def __init__(
        self,
        tower: TextTower,
        class_names: Sequence[str],
        n_context: int,
        *,
        words: str | None = None,
        position: Position = "end",
        class_specific: bool = False,
        seed: int = 0,
    ):
        super().__init__()
        if not class_names or n_context < 1:
            raise ValueError(f"{len(class_names)} classes, {n_context} context vectors: give at least one of each")
        if position not in ("end", "middle"):
            raise ValueError(f"position {position!r} is unknown; allowed: end, middle")
        self.tower, self.n_context = tower, n_context
        before = n_context if position == "end" else n_context // 2
        # Placeholders of one token each keep ids, and with them the end of the text, where the embeddings are.
        texts = [_joined("X", before, name, n_context - before) for name in class_names]
        tokens = tokenize(texts)
        if bool((tokens[:, -1] != 0).any()):
            raise ValueError(f"a prompt of {n_context} vectors and its class name exceed {tokens.shape[1]} tokens")
        lengths = [int(tokenize([name]).argmax()) - 1 for name in class_names]
        context = torch.zeros_like(tokens, dtype=torch.bool)
        for row, length in zip(context, lengths, strict=True):
            row[1 : 1 + before] = True
            row[1 + before + length : 1 + n_context + length] = True
        self.register_buffer("tokens", tokens, persistent=False)
        self.register_buffer("is_context", context, persistent=False)
        with torch.no_grad():
            self.register_buffer("embedded", tower.embed(tokens).clone(), persistent=False)
            start = self._start(words, seed)
        self.context = nn.Parameter(start.expand(len(class_names), -1, -1).clone() if class_specific else start)

    def _start(self, words: str | None, seed: int) -> Tensor:
        if words is None:
            draw = torch.Generator().manual_seed(seed)
            return 0.02 * torch.randn(self.n_context, self.tower.width, generator=draw)
        ids = tokenize([words])
        length = int(ids.argmax()) - 1
        if length != self.n_context:
            raise ValueError(f"the words {words!r} are {length} tokens, but the prompt has {self.n_context} vectors")
        return self.tower.embed(ids)[0, 1 : 1 + length].clone()

    def forward(self, shift: Tensor | None = None) -> Tensor:
        """Features of unit length: (K, E), or (N, K, E) with a shift (N, width) of the context for each picture."""
        context = self.context if self.context.dim() == 3 else self.context.expand(len(self.tokens), -1, -1)
        if shift is None:
            return self.tower(self._with(context), self.tokens)
        shifted = context[None] + shift[:, None, None]
        embedded = torch.stack([self._with(one) for one in shifted]).flatten(0, 1)
        features = self.tower(embedded, self.tokens.repeat(len(shift), 1))
        return features.view(len(shift), len(self.tokens), -1)

    def _with(self, context: Tensor) -> Tensor:
        """The embedded prompts (K, L, width) with `context` (K, M, width) in its place."""
        return self.embedded.masked_scatter(self.is_context[..., None], context)


class MetaNetwork(nn.Module):
    """CoCoOp's (Zhou et al., CVPR 2022): from the features (N, E) of pictures to a shift (N, width) of the context."""

    def __init__(self, n_features: int, width: int, seed: int):
        super().__init__()
        hidden = max(1, n_features // 16)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.layers = nn.Sequential(nn.Linear(n_features, hidden), nn.ReLU(), nn.Linear(hidden, width))

    def forward(self, features: Tensor) -> Tensor:
        return self.layers(features)


def described(tower: TextTower, class_names: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Zero-shot features (K, E) of unit length: each class in every template ("a picture of a {}"), averaged.

    Raises ValueError for a template without a place for the name.
    """
    for template in templates:
        if "{}" not in template:
            raise ValueError(f"template {template!r} has no place for the class name; write {{}} there")
    features = []
    for template in templates:
        tokens = tokenize([template.format(name) for name in class_names])
        features.append(tower(tower.embed(tokens), tokens))
    return nn.functional.normalize(torch.stack(features).mean(0), dim=1)


def _joined(placeholder: str, before: int, name: str, after: int) -> str:
    return " ".join([*[placeholder] * before, name, *[placeholder] * after]) + "."
