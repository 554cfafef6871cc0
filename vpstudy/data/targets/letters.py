"""Target `letters`: Latin letters in held-out fonts."""

import numpy as np
import torch

from vpstudy.data import captions, glyphs
from vpstudy.data.target import Target
from vpstudy.runtime import generator

POOL_PER_CLASS, TEST_PER_CLASS = 40, 20


def load(size: int) -> Target:
    """Fixed rendering, per letter 40 pictures for training and validation and 20 for testing."""
    letters = torch.tensor([glyphs.CHARACTERS.index(letter) for letter in glyphs.LATIN])
    labels = torch.arange(len(letters)).repeat(POOL_PER_CLASS + TEST_PER_CLASS)
    draw = generator("letters", 0)
    parts = [glyphs.render(letters[part], draw, size, "held-out") for part in labels.split(1024)]  # limits memory
    return Target(
        name="letters",
        class_names=[captions.name(letter) for letter in glyphs.LATIN],
        pictures=torch.cat(parts),
        labels=labels,
        test=np.arange(len(letters) * POOL_PER_CLASS, len(labels)),
        credit="rendered here from DejaVu and STIX fonts that matplotlib ships (Bitstream Vera and SIL OFL licences)",
    )
