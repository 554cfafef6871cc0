"""Text tower of a CLIP: tokenizes texts, and lets prompts join the words after the embedding."""

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
    """CLIP's tokenizer, cached: reading its vocabulary takes a tenth of a second."""
    return open_clip.get_tokenizer("ViT-B-32")


def tokenize(texts: Sequence[str]) -> Tensor:
    """Token ids (N, 77) in CLIP's byte-pair encoding, zero after the end-of-text token, which is the largest."""
    return tokenizer()(list(texts))


class TextTower(nn.Module):
    """A causal text transformer; it is not modified. Raises ValueError for other text towers."""

    def __init__(self, clip: CLIP | CustomTextCLIP):
        super().__init__()
        tower = clip.text if hasattr(clip, "text") else clip  # CustomTextCLIP, CLIP
        if missing := [name for name in PARTS if not hasattr(tower, name)]:
            raise ValueError(
                f"this text tower has no {missing[0]}; prompts need a CLIP transformer with causal attention"
            )
        if getattr(tower, "cls_emb", None) is not None or tower.attn_mask is None:
            raise ValueError("this text tower pools a class token or sees both ways; prompts need a causal one")
        self._tower = (tower,)  # in a tuple: not a submodule, so never trained, moved or saved
        self.of_glyphs = hasattr(clip, "of_glyphs")  # a small CLIP, which knows nothing else

    @property
    def width(self) -> int:
        """Width of a word embedding."""
        return self._tower[0].token_embedding.weight.shape[1]

    @property
    def layers(self) -> int:
        """Number of transformer blocks."""
        return len(self._tower[0].transformer.resblocks)

    def embed(self, tokens: Tensor) -> Tensor:
        """Ids (N, L) → embeddings (N, L, width) without positions. Raises ValueError if a text is too long."""
        longest, most = int(tokens.argmax(1).max()) + 1, len(self._tower[0].positional_embedding)
        if longest > most:
            raise ValueError(f"a text is {longest} tokens long, and this text tower takes {most}; give shorter names")
        return self.vectors(tokens)

    def vectors(self, ids: Tensor) -> Tensor:
        """Token ids (…) → embeddings (…, width)."""
        embedding = self._tower[0].token_embedding
        return embedding(ids.to(embedding.weight.device))

    def forward(self, embedded: Tensor, tokens: Tensor, deep: Sequence[Tensor] = ()) -> Tensor:
        """Embedded texts (N, L, width) → features (N, E) of unit length.

        `embedded` is from `embed`, or has a prompt in place of some words. The ids `tokens` (N, L) show where each text
        ends; positions after the longest are skipped, which changes nothing because attention is causal. `deep` holds
        prompts (M, width), one per block from the second on, which replace the M states after the first token at its
        input.
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
    """Replace the states (N, L, width) after the first token by a prompt (M, width), or one per text (N, M, width)."""
    prompts = prompts.expand(len(states), -1, -1)
    return torch.cat([states[:, :1], prompts, states[:, 1 + prompts.shape[1] :]], dim=1)
