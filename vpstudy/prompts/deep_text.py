"""A text tower that takes prompts at the inputs of its deeper blocks, too, as MaPLe's do."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vpstudy.models.clip import TextTower


class DeepTextTower(TextTower):
    """A `TextTower` of which the states at a prompt's places can be replaced before each block."""

    @property
    def layers(self) -> int:
        """Number of blocks of the transformer."""
        return len(self._tower[0].transformer.resblocks)

    def embed(self, tokens: Tensor) -> Tensor:
        """Ids (N, L) on any device to embeddings (N, L, width) on the tower's, without positions."""
        return super().embed(tokens.to(self._tower[0].token_embedding.weight.device))

    def forward(
        self, embedded: Tensor, tokens: Tensor, deep: Sequence[Tensor] = (), is_context: Tensor | None = None
    ) -> Tensor:
        """Features (N, E) of unit length.

        Parameters
        ----------
        embedded, tokens
            As in `TextTower`.
        deep
            A prompt (M, width) for the input of each block from the second on; it takes the place of the states there.
        is_context
            The M places (N, L) of each text at which it does.
        """
        if not len(deep):
            return super().forward(embedded, tokens)
        tower, ends = self._tower[0], tokens.argmax(1)
        length = int(ends.max()) + 1
        states = embedded[:, :length] + tower.positional_embedding[:length]
        mask, places = tower.attn_mask[:length, :length], is_context[:, :length, None]
        for k, block in enumerate(tower.transformer.resblocks):
            if 1 <= k <= len(deep):
                states = states.masked_scatter(places, deep[k - 1].to(states.dtype).expand(len(states), -1, -1))
            if tower.transformer.batch_first:
                states = block(states, attn_mask=mask)
            else:
                states = block(states.transpose(0, 1), attn_mask=mask).transpose(0, 1)
        states = tower.ln_final(states)[torch.arange(len(tokens)), ends]
        projection = tower.text_projection
        if projection is not None:
            states = projection(states) if isinstance(projection, nn.Linear) else states @ projection
        return F.normalize(states, dim=1)
