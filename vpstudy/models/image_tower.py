"""The image tower of a CLIP, where it is a transformer: entered behind its patches, so that prompts can join them."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from open_clip.model import CLIP, CustomTextCLIP
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from timm.models.vision_transformer import VisionTransformer as TimmTransformer
from torch import Tensor, nn


class ImageTower(nn.Module):
    """Open_clip's own vision transformer, or timm's within open_clip; the tower stays as it is.

    It should be in evaluation mode: batch normalisation in a stem would follow the pictures otherwise.

    Raises
    ------
    ValueError
        If the tower is anything else, for example a convolutional network.
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
        """Of a token."""
        visual = self._visual[0]
        return visual.trunk.embed_dim if self._timm else visual.transformer.width

    @property
    def layers(self) -> int:
        """Number of blocks of the transformer."""
        return len(self._blocks)

    @property
    def _blocks(self) -> Sequence[nn.Module]:
        visual = self._visual[0]
        return visual.trunk.blocks if self._timm else visual.transformer.resblocks

    def forward(self, pictures: Tensor, prompts: Sequence[Tensor] = ()) -> Tensor:
        """Features (N, E) of unit length.

        Parameters
        ----------
        pictures
            (N, 3, H, W), normalised as the tower expects.
        prompts
            A prompt (M, width) for the input of each of the first blocks, appended to the tokens of the picture. It
            has no position, and each replaces what the block before made of the last. Behind the last block the
            prompt is dropped: pooling sees the picture's own tokens alone, even where it averages.
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
        """The tokens (N, L, width) that enter the first block, positions and all."""
        visual = self._visual[0]
        if not self._timm:
            return visual._embeds(pictures)
        trunk = visual.trunk
        return trunk.norm_pre(trunk.patch_drop(trunk._pos_embed(trunk.patch_embed(pictures))))

    def _normalised(self, prompt: Tensor) -> Tensor:
        """The first prompt passes the normalisation before the first block, as the tokens do, each by itself."""
        visual = self._visual[0]
        return visual.trunk.norm_pre(prompt) if self._timm else visual.ln_pre(prompt)

    def _pooled(self, tokens: Tensor) -> Tensor:
        visual = self._visual[0]
        if self._timm:
            return visual.head(visual.trunk.forward_head(visual.trunk.norm(tokens)))
        pooled = visual._pool(tokens)[0]
        return pooled if visual.proj is None else pooled @ visual.proj
