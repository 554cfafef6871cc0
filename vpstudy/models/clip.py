"""CLIP models of open_clip: built small around a glyph backbone, or loaded, with one way into any text tower."""

from collections.abc import Sequence
from functools import cache

import open_clip
import timm
import torch
import torch.nn.functional as F
from open_clip.model import CLIP, CustomTextCLIP
from timm.models import is_model, register_model
from torch import Tensor, nn

import vpstudy.models.vit  # noqa: F401 (registers itself with timm)
from vpstudy.models.architectures import Architecture
from vpstudy.runtime import seed_for


def _registered_tower(architecture: Architecture) -> str:
    """The name by which timm, and so open_clip, builds this architecture as an image tower."""
    name = f"vpstudy_{architecture.name}"

    def build(pretrained: bool = False, **arguments) -> nn.Module:
        own = {k: v for k, v in arguments.items() if k not in ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")}
        model = timm.create_model(architecture.timm, **architecture.arguments | own)
        model.default_cfg = getattr(model, "default_cfg", {})  # open_clip asks it for the size behind the pooling
        return model

    if not is_model(name):
        build.__name__, build.__module__ = name, __name__
        register_model(build)
    return name


def small_clip(
    architecture: Architecture,
    size: int,
    seed: int,
    *,
    width: int = 128,
    heads: int = 4,
    layers: int = 3,
    embed: int = 64,
) -> CLIP:
    """A CLIP with random weights: `architecture` as image tower, a short causal transformer for text.

    Parameters
    ----------
    size
        Side of a picture, px.
    width, heads, layers
        Of the text tower.
    embed
        Of the space that both towers map to.
    """
    tower = _registered_tower(architecture)
    vision = {"timm_model_name": tower, "timm_pool": "avg", "timm_proj": "linear", "image_size": size}
    text = {"context_length": 77, "vocab_size": 49408, "width": width, "heads": heads, "layers": layers}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for("clip", architecture.name, seed))
        return CLIP(embed, vision, text)


def tokenize(texts: Sequence[str]) -> Tensor:
    """Token ids (N, 77) of CLIP's own byte-pair encoding, zero behind the end-of-text token, which is the largest."""
    return tokenizer()(list(texts))


@cache
def tokenizer() -> open_clip.SimpleTokenizer:
    """CLIP's own. Reading its vocabulary takes a tenth of a second, so it is read once."""
    return open_clip.get_tokenizer("ViT-B-32")


class TextTower(nn.Module):
    """The text tower of a CLIP, entered behind its embedding, so that a prompt can stand among the words.

    Plain `CLIP` holds the parts of the tower itself, `CustomTextCLIP` under `text`.
    """

    def __init__(self, clip: CLIP | CustomTextCLIP):
        super().__init__()
        tower = clip.text if hasattr(clip, "text") else clip
        for name in ("token_embedding", "positional_embedding", "transformer", "ln_final", "text_projection"):
            if not hasattr(tower, name):
                raise ValueError(
                    f"this text tower has no {name}; prompts need a CLIP transformer with causal attention"
                )
        if getattr(tower, "cls_emb", None) is not None or tower.attn_mask is None:
            raise ValueError("this text tower pools a class token or sees both ways; prompts need a causal one")
        self._tower = (tower,)  # in a tuple: not a submodule, so never trained, moved or saved

    @property
    def width(self) -> int:
        """Of a word's embedding."""
        return self._tower[0].token_embedding.weight.shape[1]

    def embed(self, tokens: Tensor) -> Tensor:
        """Ids (N, L) to embeddings (N, L, width), without positions. Raises ValueError for texts that are too long."""
        longest, most = int(tokens.argmax(1).max()) + 1, len(self._tower[0].positional_embedding)
        if longest > most:
            raise ValueError(f"a text is {longest} tokens long, and this text tower takes {most}; give shorter names")
        return self._tower[0].token_embedding(tokens)

    def forward(self, embedded: Tensor, tokens: Tensor) -> Tensor:
        """Features (N, E) of unit length.

        Parameters
        ----------
        embedded
            (N, L, width), as `embed` gives it, or with a prompt in the place of some words.
        tokens
            The ids (N, L), which tell where a text ends. What lies behind the longest is not computed: attention is
            causal, so it changes nothing.
        """
        tower, ends = self._tower[0], tokens.argmax(1)
        length = int(ends.max()) + 1
        states = embedded[:, :length] + tower.positional_embedding[:length]
        states = tower.transformer(states, attn_mask=tower.attn_mask[:length, :length])
        states = tower.ln_final(states)[torch.arange(len(tokens)), ends]
        projection = tower.text_projection
        if projection is not None:
            states = projection(states) if isinstance(projection, nn.Linear) else states @ projection
        return F.normalize(states, dim=1)
