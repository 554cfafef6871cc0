"""The text tower of a CLIP: words to tokens, and a way in behind the embedding, so that prompts can join the words."""

from collections.abc import Sequence
from functools import cache

import open_clip
import torch
import torch.nn.functional as F
from open_clip.model import CLIP, CustomTextCLIP
from torch import Tensor, nn

PARTS = ("token_embedding", "positional_embedding", "transformer", "ln_final", "text_projection")


@cache
def tokenizer() -> open_clip.SimpleTokenizer:
    """CLIP's own. Reading its vocabulary takes a tenth of a second, so it is read once."""
    return open_clip.get_tokenizer("ViT-B-32")


def tokenize(texts: Sequence[str]) -> Tensor:
    """Token ids (N, 77) of CLIP's own byte-pair encoding, zero behind the end-of-text token, which is the largest."""
    return tokenizer()(list(texts))


class TextTower(nn.Module):
    """A causal transformer for text, which stays as it is.

    Plain `CLIP` holds the parts of the tower itself, `CustomTextCLIP` under `text`.

    Raises
    ------
    ValueError
        If the tower is anything else.
    """

    def __init__(self, clip: CLIP | CustomTextCLIP):
        super().__init__()
        tower = clip.text if hasattr(clip, "text") else clip
        if missing := [name for name in PARTS if not hasattr(tower, name)]:
            raise ValueError(
                f"this text tower has no {missing[0]}; prompts need a CLIP transformer with causal attention"
            )
        if getattr(tower, "cls_emb", None) is not None or tower.attn_mask is None:
            raise ValueError("this text tower pools a class token or sees both ways; prompts need a causal one")
        self._tower = (tower,)  # in a tuple: not a submodule, so never trained, moved or saved

    @property
    def width(self) -> int:
        """Of a word's embedding."""
        return self._tower[0].token_embedding.weight.shape[1]

    @property
    def layers(self) -> int:
        """Number of blocks of the transformer."""
        return len(self._tower[0].transformer.resblocks)

    def embed(self, tokens: Tensor) -> Tensor:
        """Ids (N, L) to embeddings (N, L, width), without positions. Raises ValueError for texts that are too long."""
        longest, most = int(tokens.argmax(1).max()) + 1, len(self._tower[0].positional_embedding)
        if longest > most:
            raise ValueError(f"a text is {longest} tokens long, and this text tower takes {most}; give shorter names")
        return self.vectors(tokens)

    def vectors(self, ids: Tensor) -> Tensor:
        """The embedding (…, width) of each token id (…)."""
        embedding = self._tower[0].token_embedding
        return embedding(ids.to(embedding.weight.device))

    def forward(self, embedded: Tensor, tokens: Tensor, deep: Sequence[Tensor] = ()) -> Tensor:
        """Features (N, E) of unit length.

        Parameters
        ----------
        embedded
            (N, L, width), as `embed` gives it, or with a prompt in the place of some words.
        tokens
            The ids (N, L), which tell where a text ends. What lies behind the longest is not computed: attention is
            causal, so it changes nothing.
        deep
            A prompt (M, width) for the input of each block from the second on: it replaces the states of the M tokens
            behind the first.
        """
        tower, ends = self._tower[0], tokens.argmax(1)
        length = int(ends.max()) + 1
        states = embedded[:, :length] + tower.positional_embedding[:length]
        mask = tower.attn_mask[:length, :length]
        for k, block in enumerate(tower.transformer.resblocks):
            if 1 <= k <= len(deep):
                states = joined(states, deep[k - 1].to(states.dtype))
            states = block(states, attn_mask=mask)
        states = tower.ln_final(states)[torch.arange(len(tokens)), ends]
        projection = tower.text_projection
        if projection is not None:
            states = projection(states) if isinstance(projection, nn.Linear) else states @ projection
        return F.normalize(states, dim=1)


def joined(states: Tensor, prompts: Tensor) -> Tensor:
    """States (N, L, width) with a prompt (M, width), or one for each text (N, M, width), behind the first token."""
    prompts = prompts.expand(len(states), -1, -1)
    return torch.cat([states[:, :1], prompts, states[:, 1 + prompts.shape[1] :]], dim=1)
