"""Target `faces`: faces or background patches; far from glyphs, few pictures."""

import numpy as np
import torch
from skimage.data import lfw_subset

from vpstudy.data.target import Target, from_grey, stratified_test

TEST_PER_CLASS = 50


def load(size: int) -> Target:
    """100 faces and 100 pictures without faces, 25 x 25 pixels; half of each class for testing."""
    faces = lfw_subset()  # floats in [0, 1]; the first 100 are the faces
    labels = np.repeat([0, 1], 100)
    return Target(
        name="faces",
        class_names=["face", "no face"],
        pictures=from_grey(faces, size),
        labels=torch.from_numpy(labels),
        test=stratified_test(labels, TEST_PER_CLASS),
        credit="scikit-image lfw_subset: a sample of Labeled Faces in the Wild, G. B. Huang et al. (2007),"
        " for research",
    )
