"""Target `letters`: Latin letters in fonts that the source data never shows."""

import numpy as np
import torch

from vpstudy.data import captions, glyphs
from vpstudy.data.target import Target
from vpstudy.runtime import generator

POOL_PER_CLASS, TEST_PER_CLASS = 40, 20


def load(size: int) -> Target:
    """Rendered once and always the same; of each letter 40 pictures to draw from and 20 to test."""
    letters = torch.tensor([glyphs.CHARACTERS.index(letter) for letter in glyphs.LATIN])
    labels = torch.arange(len(letters)).repeat(POOL_PER_CLASS + TEST_PER_CLASS)
    draw = generator("letters", 0)
    parts = [glyphs.render(letters[part], draw, size, "held-out") for part in labels.split(1024)]  # bounds the memory
    return Target(
        name="letters",
        class_names=[captions.name(letter) for letter in glyphs.LATIN],
        pictures=torch.cat(parts),
        labels=labels,
        test=np.arange(len(letters) * POOL_PER_CLASS, len(labels)),
        credit="rendered here from DejaVu and STIX fonts that matplotlib ships (Bitstream Vera and SIL OFL licences)",
    )
