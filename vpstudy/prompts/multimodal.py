"""Multi-modal prompts (MaPLe, Khattak et al., CVPR 2023): learned text vectors and their projections to image prompts.

Projections have no bias: the sizes in the qprompt paper imply none (3,548,160 values for CLIP ViT-B/16). Quantized
(QMaPLe, arXiv 2407.10704), context, deep prompts and projections have a codebook each; the paper does not say whether
it has one per layer.

Where a sentence encoder stands beside an image tower that is no transformer, the text side alone is left: the vectors
of the text tower's blocks.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from open_clip.model import CLIP, CustomTextCLIP
from torch import Tensor, nn
from torch.nn.utils import parametrize

from vpstudy.models import sentence_tower
from vpstudy.models.image_tower import ImageTower
from vpstudy.models.sentence_tower import SentenceTower
from vpstudy.models.text_tower import joined
from vpstudy.prompts import codebook
from vpstudy.prompts.quantized import Quantizer, Settings
from vpstudy.prompts.text import DEVIATION, first_context, placeholders
from vpstudy.runtime import Runtime

KINDS = ("context", "deep", "projections")


class Weights(nn.Module):
    """Learned tensors of a multi-modal prompt, the same for any classes.

    `context` (M, text width) enters the text tower, `deep` (depth − 1, M, text width) its blocks 2 … depth.
    `projections` (depth, image width, text width) map the prompt of a text block to that of the image block at the same
    depth; without an image side they are of width 0.
    """

    def __init__(self, context: Tensor, deep: Tensor, projections: Tensor):
        super().__init__()
        self.context, self.deep, self.projections = map(nn.Parameter, (context, deep, projections))

    def prompts(self) -> tuple[Tensor, Tensor]:
        """Prompts of text blocks (depth, M, text width) and image blocks (depth, M, image width)."""
        of_text = torch.cat([self.context[None], self.deep])
        return of_text, of_text @ self.projections.transpose(1, 2)


def first_weights(
    clip: CLIP | CustomTextCLIP, context: str | int, depth: int, seed: int, class_names: Sequence[str] = ()
) -> Weights:
    """Initial weights: the context from words or a number of random vectors, the rest random.

    With a sentence encoder, deep prompts are what the context's states are there, on average over `class_names`: they
    start as the words do. Raises ValueError if a tower is not a transformer or has fewer than `depth` blocks.
    """
    tower = sentence_tower.of(clip)
    image_tower = None if isinstance(tower, SentenceTower) else ImageTower(clip)
    most = min(tower.layers, image_tower.layers) if image_tower else tower.layers
    if not 1 <= depth <= most:
        and_image = f" and the image tower {image_tower.layers}" if image_tower else ""
        raise ValueError(f"depth is {depth}; the text tower has {tower.layers} blocks{and_image}: give 1 to {most}")
    start = first_context(tower, context, seed)
    n_context, width = start.shape
    if not image_tower:
        return Weights(start, _mean_states(tower, class_names, start)[1:depth], start.new_zeros(depth, 0, width))
    draw = torch.Generator().manual_seed(seed)  # on the CPU
    deep = DEVIATION * torch.randn(depth - 1, n_context, width, generator=draw)
    uniform = torch.rand(depth, image_tower.width, width, generator=draw)
    return Weights(start, deep, (2 * uniform - 1) * width**-0.5).to(start.device)  # as in nn.Linear


@torch.no_grad()
def _mean_states(tower: SentenceTower, class_names: Sequence[str], context: Tensor) -> Tensor:
    """States (blocks, M, width) of a context (M, width) at the input of blocks, averaged over texts of classes."""
    tokens, embedded = placeholders(tower, class_names, len(context))
    states = tower.states(joined(embedded, context), tokens)
    return torch.stack([of[:, 1 : 1 + len(context)].mean(0) for of in states])


class MultimodalPrompt(nn.Module):
    """A prompt for both towers of a CLIP, which stay unchanged.

    `clip` has an image transformer and a causal text transformer, in evaluation mode. The vectors of `weights` stand
    before each class name and behind the patches of a picture. Prompts may share weights. With a sentence encoder,
    which computes at the precision of `runtime`, pictures take no prompt.
    """

    def __init__(
        self,
        clip: CLIP | CustomTextCLIP,
        class_names: Sequence[str],
        weights: Weights,
        runtime: Runtime | None = None,
    ):
        super().__init__()
        self._clip, self._runtime, self.weights = (clip,), runtime, weights
        self.tower = sentence_tower.of(clip, runtime)
        self.image_tower = None if isinstance(self.tower, SentenceTower) else ImageTower(clip)
        self.tokens, self._embedded = placeholders(self.tower, class_names, len(weights.context))

    def for_classes(self, class_names: Sequence[str]) -> "MultimodalPrompt":
        """The same prompt for other classes, with shared weights."""
        return MultimodalPrompt(self._clip[0], class_names, self.weights, self._runtime)

    def text(self) -> Tensor:
        """Class features (K, E) of unit length."""
        context, *deep = self.weights.prompts()[0]
        return self.tower(joined(self._embedded, context.to(self._embedded.dtype)), self.tokens, deep)

    def image(self, pictures: Tensor) -> Tensor:
        """Features (N, E) of unit length of pictures (N, 3, H, W), normalised as the tower expects.

        Where pictures take no prompt, `pictures` are their features.
        """
        return self.image_tower(pictures, self.weights.prompts()[1]) if self.image_tower else pictures


@dataclass(frozen=True)
class QuantizedWeights:
    """Weights of a multi-modal prompt and their quantizers by kind; "deep" only for depths above 1."""

    weights: Weights
    quantizers: dict[str, Quantizer]

    def plain(self, kind: str) -> Tensor:
        """The full-precision tensor that is trained, detached."""
        return self.weights.parametrizations[kind].original.detach()

    def step(self) -> None:
        """Call after each optimizer step: refits codebooks that are due."""
        for kind, quantizer in self.quantizers.items():
            quantizer.step(self.plain(kind))

    def packed(self) -> dict[str, codebook.Packed]:
        return {kind: quantizer.packed(self.plain(kind)) for kind, quantizer in self.quantizers.items()}

    def stored(self) -> Weights:
        """Plain weights with the values that `packed` stores."""
        weights = copy.deepcopy(self.weights)
        for kind, part in self.packed().items():
            parametrize.remove_parametrizations(weights, kind)
            values = getattr(weights, kind)
            values.data = part.unpacked().to(values)
        return weights


def quantize(prompt: MultimodalPrompt, settings: Settings) -> QuantizedWeights:
    """Quantize a prompt in place, and all that share its weights. Raises ValueError if it is quantized already."""
    weights = prompt.weights
    if parametrize.is_parametrized(weights):
        raise ValueError("this prompt is quantized already; quantize a fresh one")
    tensors = {kind: getattr(weights, kind).detach() for kind in KINDS}
    quantizers = {kind: Quantizer(values, settings) for kind, values in tensors.items() if values.numel()}
    for kind, quantizer in quantizers.items():
        parametrize.register_parametrization(weights, kind, quantizer)
    return QuantizedWeights(weights, quantizers)


def stored_bytes(n_context: int, depth: int, text_width: int, image_width: int, bits: int) -> int:
    """Bytes of a multi-modal prompt at `bits` bits a value with its codebooks; none at 16 or 32 bits."""
    of_prompt = n_context * text_width
    sizes = (of_prompt, of_prompt * (depth - 1), text_width * image_width * depth)
    return sum(codebook.stored_bytes(size, bits) for size in sizes if size)
