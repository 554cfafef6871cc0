"""A vision transformer small enough to learn glyphs on two cores, registered with timm as `vit_glyph`.

In as many steps, a plain one stays at chance. The remedy is to replace the patch projection by three convolutions, as
in Xiao et al., "Early Convolutions Help Transformers See Better" (NeurIPS 2021).
"""

import itertools

from timm.models import register_model
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn


class ConvolutionalStem(nn.Module):
    """Pictures (N, 3, H, W) → tokens (N, H / 8 · W / 8, D): three 3 × 3 convolutions of stride 2."""

    def __init__(self, img_size: int, embed_dim: int, in_chans: int = 3, **_):
        super().__init__()
        self.num_patches = (img_size // 8) ** 2
        widths = [in_chans, embed_dim // 4, embed_dim // 2, embed_dim]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.layers(pictures).flatten(2).transpose(1, 2)


@register_model
def vit_glyph(pretrained: bool = False, pretrained_cfg=None, pretrained_cfg_overlay=None, cache_dir=None, **arguments):
    """For pictures of one fixed size, a multiple of 8 px; tokens are averaged. Has no pretrained weights."""
    settings = {"img_size": 32, "embed_dim": 96, "depth": 2, "num_heads": 3, "mlp_ratio": 2.0} | arguments
    return VisionTransformer(embed_layer=ConvolutionalStem, global_pool="avg", class_token=False, **settings)
