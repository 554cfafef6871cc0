"""Sentence encoders as compressions take networks: with texts in place of pictures.

What is compressed are the linear layers of the blocks, half of the weights. Of these the very first, of the queries, is
spared as the first layer of a network is: it stays dense, or has 8 bits. The table of words, which holds nearly all
other weights, and the map to the space of pictures stay as they are.
"""

import copy
from dataclasses import dataclass

import torch
from open_clip.hf_model import HFTextEncoder
from torch import Tensor, nn

from vpstudy.compression.settings import Compressing
from vpstudy.models.sentence_tower import SentenceTower


class _Reader(nn.Module):
    """Token ids (N, L) → features (N, E) of unit length.

    Behind a text stand its own tokens again, at their own positions: nothing attends to them, and they have the states
    of those that they repeat. So padding does not enter the statistics of layers.
    """

    def __init__(self, text: HFTextEncoder):
        super().__init__()
        self.text = text
        self._tower = (SentenceTower(text),)  # in a tuple: no submodule

    def forward(self, tokens: Tensor) -> Tensor:
        tower, places = self._tower[0], torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
        places = places % (tower.ends(tokens) + 1)[:, None]
        return tower(tower.embed(tokens.gather(1, places)), tokens, positions=places)


class TextBackbone(nn.Module):
    """What a compression asks of a `Backbone`, for a copy of a sentence encoder."""

    name, classifier = "the text tower", None

    def __init__(self, text: HFTextEncoder):
        super().__init__()
        self.model = _Reader(copy.deepcopy(text))

    @property
    def prunable(self) -> dict[str, nn.Parameter]:
        layers = self.model.text.transformer.encoder.named_modules(prefix="text.transformer.encoder")
        return {f"{name}.weight": layer.weight for name, layer in layers if isinstance(layer, nn.Linear)}

    def normalised(self, tokens: Tensor) -> Tensor:
        """Token ids as they are."""
        return tokens

    def frozen(self) -> "TextBackbone":
        """Switch to eval mode without gradients, in place, and return self."""
        return self.eval().requires_grad_(False)


@dataclass(frozen=True)
class TextAccess:
    """A sentence encoder and the texts that compressions see. Nothing trains it: that is refused."""

    text: HFTextEncoder
    tokens: Tensor  # ids (N, L) of texts, zero behind them
    settings: Compressing

    def dense(self) -> TextBackbone:
        """The encoder, copied on each call."""
        return TextBackbone(self.text)

    def pictures(self) -> tuple[Tensor, None]:
        """At most `settings.pictures` texts, as token ids."""
        return self.tokens[: self.settings.pictures].to(next(self.text.parameters()).device), None

    def recover(self, model: TextBackbone) -> None:
        raise ValueError("a text tower is not trained again here; give a compression that needs no training")

    def unlabelled(self) -> Tensor:
        """Refused, as `recover`."""
        raise ValueError("a text tower is not distilled here; give a compression that needs no training")
