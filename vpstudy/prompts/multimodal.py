"""Multi-modal prompts (MaPLe, Khattak et al., CVPR 2023): learned vectors among the words, coupled to patches.

Without biases of the coupling, as the sizes that the qprompt paper states imply: 3,548,160 values for CLIP ViT-B/16.
"""

from collections.abc import Sequence

import torch
from open_clip.model import CLIP, CustomTextCLIP
from torch import Tensor, nn

from vpstudy.models.image_tower import ImageTower
from vpstudy.prompts.deep_text import DeepTextTower
from vpstudy.prompts.text import TextPrompt

DEVIATION = 0.02  # of a prompt that is drawn


class Weights(nn.Module):
    """What a multi-modal prompt learns: all that is stored of it, whatever the classes.

    Attributes
    ----------
    context
        (M, text width): at the input of the text tower.
    deep
        (depth − 1, M, text width): at the inputs of the text tower's blocks 2 … depth.
    projections
        (depth, image width, text width): from the prompt of a text block to that of the image block of the same depth.
    """

    def __init__(self, context: Tensor, depth: int, image_width: int, seed: int):
        super().__init__()
        n_context, width = context.shape
        draw = torch.Generator().manual_seed(seed)
        bound = width**-0.5  # as linear layers of torch start
        self.context = nn.Parameter(context.detach().clone())
        self.deep = nn.Parameter(DEVIATION * torch.randn(depth - 1, n_context, width, generator=draw))
        uniform = torch.rand(depth, image_width, width, generator=draw)
        self.projections = nn.Parameter((2 * uniform - 1) * bound)

    def prompts(self) -> tuple[Tensor, Tensor]:
        """Prompts of the text blocks (depth, M, text width), and of the image blocks (depth, M, image width)."""
        of_text = torch.cat([self.context[None], self.deep])
        return of_text, of_text @ self.projections.transpose(1, 2)


class MultimodalPrompt(nn.Module):
    """A prompt for both towers of a CLIP, which stay as they are.

    Parameters
    ----------
    clip
        With a transformer for pictures, and a causal one for text; in evaluation mode.
    class_names
        K names, of any number of words.
    n_context
        Number M of vectors, before the name of a class and behind the patches of a picture.
    depth
        Number of blocks of both towers, from the first, that a prompt of their own enters.
    words
        Text that the vectors at the input start from, of exactly M tokens; without it they are drawn.
    weights
        Of another prompt, to share; `n_context`, `depth` and `words` are then its own.

    Raises
    ------
    ValueError
        If a tower is no transformer or has fewer than `depth` blocks, depth is below 1, `words` has another number of
        tokens, there is no class or vector, or a prompt is too long for the tower.
    """

    def __init__(
        self,
        clip: CLIP | CustomTextCLIP,
        class_names: Sequence[str],
        n_context: int,
        depth: int,
        *,
        words: str | None = None,
        seed: int = 0,
        weights: Weights | None = None,
    ):
        super().__init__()
        self.tower, self.image_tower = DeepTextTower(clip), ImageTower(clip)
        if weights is not None:
            n_context, depth, words = weights.context.shape[0], weights.projections.shape[0], None
        most = min(self.tower.layers, self.image_tower.layers)
        if not 1 <= depth <= most:
            raise ValueError(
                f"depth is {depth}; the text tower has {self.tower.layers} blocks and the image tower "
                f"{self.image_tower.layers}: give 1 to {most}"
            )
        start = TextPrompt(self.tower, class_names, n_context, words=words, seed=seed)
        for name in ("tokens", "is_context", "embedded"):
            self.register_buffer(name, getattr(start, name), persistent=False)
        if weights is None:
            weights = Weights(start.context, depth, self.image_tower.width, seed)
        self.weights, self._clip = weights, (clip,)
        self.to(self.embedded.device)  # ids and draws are made on the CPU

    def for_classes(self, class_names: Sequence[str]) -> "MultimodalPrompt":
        """The same prompt, weights shared, for other classes."""
        return MultimodalPrompt(self._clip[0], class_names, 1, 1, weights=self.weights)

    def text(self) -> Tensor:
        """Features (K, E) of the classes, of unit length."""
        context, *deep = self.weights.prompts()[0]
        embedded = self.embedded.masked_scatter(
            self.is_context[..., None], context.to(self.embedded.dtype).expand(len(self.tokens), -1, -1)
        )
        return self.tower(embedded, self.tokens, deep, self.is_context)

    def image(self, pictures: Tensor) -> Tensor:
        """Features (N, E) of pictures (N, 3, H, W), of unit length; normalised as the tower expects."""
        return self.image_tower(pictures, self.weights.prompts()[1])


def parameter_count(n_context: int, depth: int, text_width: int, image_width: int) -> int:
    """Number of values of a multi-modal prompt: depth · text width · (M + image width)."""
    return depth * text_width * (n_context + image_width)
