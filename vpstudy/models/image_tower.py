"""Transformer image tower of a CLIP, where prompts can join the tokens of the patches."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from open_clip.model import CLIP, CustomTextCLIP
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from timm.models.vision_transformer import VisionTransformer as TimmTransformer
from torch import Tensor, nn


class ImageTower(nn.Module):
    """A vision transformer of open_clip, or of timm within open_clip; it is not modified.

    Needs eval mode, or BatchNorm in a stem would follow the pictures. Raises ValueError for other towers.
    """

    def __init__(self, clip: CLIP | CustomTextCLIP):
        super().__init__()
        visual = clip.visual
        self._timm = isinstance(visual, TimmModel)
        inner = visual.trunk if self._timm else visual
        if not isinstance(inner, TimmTransformer if self._timm else VisionTransformer):
            raise ValueError(f"MaPLe needs a transformer image tower; this one is {type(inner).__name__}; use CoOp")
        self._visual = (visual,)  # in a tuple: not a submodule, so never trained, moved or saved

    @property
    def width(self) -> int:
        """Width of a token."""
        visual = self._visual[0]
        return visual.trunk.embed_dim if self._timm else visual.transformer.width

    @property
    def layers(self) -> int:
        """Number of transformer blocks."""
        return len(self._blocks)

    @property
    def _blocks(self) -> Sequence[nn.Module]:
        visual = self._visual[0]
        return visual.trunk.blocks if self._timm else visual.transformer.resblocks

    def forward(self, pictures: Tensor, prompts: Sequence[Tensor] = ()) -> Tensor:
        """Normalised pictures (N, 3, H, W) → features (N, E) of unit length.

        `prompts` (M, width), one for each of the first blocks, are appended to the picture's tokens without positions.
        Each replaces the previous block's outputs for the prompt before. After the last block they are dropped: pooling
        sees only the picture's own tokens, even where it averages.
        """
        tokens = self._embed(pictures)
        own = tokens.shape[1]
        for k, block in enumerate(self._blocks):
            if k < len(prompts):
                prompt = self._normalised(prompts[k]) if k == 0 else prompts[k]
                prompt = prompt.to(tokens.dtype).expand(len(tokens), -1, -1)
                tokens = torch.cat([tokens[:, :own], prompt], dim=1)
            tokens = block(tokens)
        return F.normalize(self._pooled(tokens[:, :own]), dim=1)

    def _embed(self, pictures: Tensor) -> Tensor:
        """Tokens (N, L, width) for the first block, with positions."""
        visual = self._visual[0]
        if not self._timm:
            return visual._embeds(pictures)
        trunk = visual.trunk
        return trunk.norm_pre(trunk.patch_drop(trunk._pos_embed(trunk.patch_embed(pictures))))

    def _normalised(self, prompt: Tensor) -> Tensor:
        """Apply the normalisation before the first block to a prompt, as it is applied to the tokens."""
        visual = self._visual[0]
        return visual.trunk.norm_pre(prompt) if self._timm else visual.ln_pre(prompt)

    def _pooled(self, tokens: Tensor) -> Tensor:
        visual = self._visual[0]
        if self._timm:
            return visual.head(visual.trunk.forward_head(visual.trunk.norm(tokens)))
        pooled = visual._pool(tokens)[0]
        return pooled if visual.proj is None else pooled @ visual.proj
