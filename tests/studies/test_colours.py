"""Colours of figures, as people with each kind of colour blindness see them: how different are the closest two?

Full dichromacy by Machado, Oliveira and Fernandes (2009), difference by CIEDE2000: above 10 is told at a glance.
"""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from skimage.color import deltaE_ciede2000, rgb2lab

from studies.figures import style
from vpstudy import paths

KINDS = {  # from linear RGB to linear RGB
    "usual": np.eye(3),
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
METHODS = [style.method(name).colour for name in ("mapping_only", "visual_prompting", "linear_probe", "fine_tuning")]
SETS = {"methods": METHODS, "six groups": style.COLOURS[:6]}


def seen(colour: str, kind: str) -> np.ndarray:
    """A colour in Lab, as seen."""
    given = np.array(to_rgb(colour))
    linear = np.where(given <= 0.04045, given / 12.92, ((given + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.asarray(KINDS[kind]) @ linear, 0, 1)
    return rgb2lab(np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))


def smallest(colours, kind: str) -> float:
    return min(float(deltaE_ciede2000(*(seen(each, kind) for each in pair))) for pair in combinations(colours, 2))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SETS)
def test_colours_that_stand_side_by_side_differ(name, kind):
    assert smallest(SETS[name], kind) > 10


def test_the_site_says_the_smallest_difference():
    said = [round(min(smallest(colours, kind) for kind in KINDS)) for colours in SETS.values()]
    text = (paths.ROOT / "docs/methods.md").read_text(encoding="utf-8")
    assert f"{said[0]} for the four methods, {said[1]} for the first six groups" in text
