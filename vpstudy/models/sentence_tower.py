"""Sentence encoders of the library transformers as text towers, and what is common to text towers of either kind."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache

import torch.nn.functional as F
from open_clip.hf_model import HFTextEncoder, MeanPooler
from open_clip.model import CLIP, CustomTextCLIP
from open_clip.tokenizer import HFTokenizer
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from vpstudy.models import text_tower as causal
from vpstudy.models.text_tower import TextTower, joined
from vpstudy.runtime import Runtime

LENGTH = 77  # tokens of a text, as in CLIP


@cache
def _tokenizer(folder: str) -> HFTokenizer:
    return HFTokenizer(folder, context_length=LENGTH)


class SentenceTower(nn.Module):
    """A text encoder that sees both ways, pooled by the mean over its tokens; the interface is that of `TextTower`.

    It is not modified. With a `runtime`, it computes at that precision. Raises ValueError for another pooling, or an
    encoding that does not pad with zeros.
    """

    of_glyphs = False

    def __init__(self, text: HFTextEncoder, runtime: Runtime | None = None):
        super().__init__()
        if not isinstance(text.pooler, MeanPooler):
            raise ValueError(
                f"this text tower pools by {type(text.pooler).__name__}; prompts need the mean over tokens"
            )
        if (padding := text.config.pad_token_id) != 0:
            raise ValueError(
                f"this sentence encoder pads with token {padding}; give one that pads with 0, as BERT does"
            )
        self._text = (text,)  # in a tuple: not a submodule, so never trained, moved or saved
        self._autocast = runtime.autocast if runtime else contextlib.nullcontext

    @property
    def width(self) -> int:
        """Width of a word embedding."""
        return self._embedding.weight.shape[1]

    @property
    def layers(self) -> int:
        """Number of transformer blocks."""
        return len(self._blocks)

    @property
    def _blocks(self) -> nn.ModuleList:
        return self._text[0].transformer.encoder.layer

    @property
    def _embedding(self) -> nn.Embedding:
        return self._text[0].transformer.get_input_embeddings()

    @property
    def _own_tokenizer(self) -> HFTokenizer:
        return _tokenizer(self._text[0].config.name_or_path)

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Token ids (N, 77), padded behind the end-of-text token."""
        return self._own_tokenizer(list(texts))

    def decode(self, token: int) -> str:
        """The word or part of a word of a token."""
        return self._own_tokenizer.tokenizer.decode([token])

    def ends(self, tokens: Tensor) -> Tensor:
        """Positions (N,) of the end-of-text tokens of ids (N, L)."""
        return (tokens != 0).sum(1) - 1

    def embed(self, tokens: Tensor) -> Tensor:
        """Ids (N, L) → embeddings (N, L, width) without positions. Raises ValueError if a text is too long."""
        most = min(LENGTH, self._text[0].context_length)
        if (longest := int(self.ends(tokens).max()) + 1) > most:
            raise ValueError(f"a text is {longest} tokens long, and this text tower takes {most}; give shorter names")
        return self.vectors(tokens)

    def vectors(self, ids: Tensor) -> Tensor:
        """Token ids (…) → embeddings (…, width)."""
        return self._embedding(ids.to(self._embedding.weight.device))

    def forward(
        self, embedded: Tensor, tokens: Tensor, deep: Sequence[Tensor] = (), positions: Tensor | None = None
    ) -> Tensor:
        """Embedded texts (N, L, width) → features (N, E) of unit length.

        `embedded` is from `embed`, or has a prompt in place of some words. The ids `tokens` (N, L) show which positions
        are padding: these are masked, and those behind the longest text left out. `deep` holds prompts (M, width),
        one per block from the second on, which replace the M states after the first token at its input. `positions`
        (N, L) are the places of `embedded` in a text, by default in their order. Raises ValueError for more prompts
        than blocks.
        """
        with self._entered(deep):
            return self.mapped(self.pooled(embedded, tokens, positions))

    def states(self, embedded: Tensor, tokens: Tensor) -> list[Tensor]:
        """What enters each block (N, L, width) for embedded texts (N, L, width), as in `forward`."""
        found: list[Tensor] = []
        with self._hooked(self._blocks, [lambda _, given: found.append(given[0])] * self.layers):
            self.pooled(embedded, tokens)
        return found

    def _entered(self, deep: Sequence[Tensor]) -> contextlib.AbstractContextManager[None]:
        """Let prompts replace states at the input of blocks."""

        def enter(prompt: Tensor):
            return lambda _, given: (joined(given[0], prompt.to(given[0].dtype)), *given[1:])

        if len(deep) > self.layers - 1:
            raise ValueError(f"{len(deep)} deep prompts are given, and {self.layers - 1} blocks can take one")
        return self._hooked(self._blocks[1 : 1 + len(deep)], map(enter, deep))

    @contextlib.contextmanager
    def _hooked(self, blocks: Iterable[nn.Module], hooks: Iterable[Callable]) -> Iterator[None]:
        """Call hooks with what enters blocks, one each."""
        handles = [block.register_forward_pre_hook(hook) for block, hook in zip(blocks, hooks, strict=True)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def pooled(self, embedded: Tensor, tokens: Tensor, positions: Tensor | None = None) -> Tensor:
        """What `mapped` makes features of: the mean (N, W) of the states of embedded texts (N, L, width)."""
        text, length = self._text[0], int(self.ends(tokens).max()) + 1
        mask = (tokens[:, :length] != 0).long().to(embedded.device)
        given = {"inputs_embeds": embedded[:, :length], "attention_mask": mask}
        if positions is not None:
            given["position_ids"] = positions[:, :length].to(embedded.device)
        # Not by flash attention, whose backward torch computes slowly in bf16 on a CPU.
        with self._autocast(), sdpa_kernel(SDPBackend.MATH):
            return text.pooler(text.transformer(**given), mask)

    def mapped(self, pooled: Tensor) -> Tensor:
        """Pooled states (N, W) → features (N, E) of unit length."""
        with self._autocast():
            return F.normalize(self._text[0].proj(pooled).float(), dim=1)


Tower = TextTower | SentenceTower


def of(clip: CLIP | CustomTextCLIP, runtime: Runtime | None = None) -> Tower:
    """The text tower of a model. Raises ValueError for one that prompts cannot enter."""
    text = getattr(clip, "text", None)
    return SentenceTower(text, runtime) if isinstance(text, HFTextEncoder) else TextTower(clip)


def tokenize(tower: Tower, texts: Sequence[str]) -> Tensor:
    """Token ids (N, 77) of texts in the encoding of a tower, zero after the end-of-text token."""
    return tower.tokenize(texts) if isinstance(tower, SentenceTower) else causal.tokenize(texts)


def ends(tower: Tower, tokens: Tensor) -> Tensor:
    """Positions (N,) of the end-of-text tokens of ids (N, L)."""
    return tower.ends(tokens) if isinstance(tower, SentenceTower) else tokens.argmax(1)


def decode(tower: Tower, token: int) -> str:
    """The word or part of a word of a token."""
    return tower.decode(token) if isinstance(tower, SentenceTower) else causal.tokenizer().decode([token]).strip()
