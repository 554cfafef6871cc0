"""Target `digits`: scikit-learn's handwritten digits, close to the source glyphs."""

import torch
from sklearn.datasets import load_digits

from vpstudy.data.target import Target, from_grey, stratified_test

TEST_PER_CLASS = 60


def load(size: int) -> Target:
    """1,797 digits, bright on dark, 8 x 8 pixels, 17 greys; 600 for testing."""
    data = load_digits()
    return Target(
        name="digits",
        class_names=list("0123456789"),
        pictures=from_grey(data.images / 16, size),
        labels=torch.from_numpy(data.target).long(),
        test=stratified_test(data.target, TEST_PER_CLASS),
        credit="scikit-learn load_digits: UCI Optical Recognition of Handwritten Digits,"
        " E. Alpaydin and C. Kaynak (1998), CC BY 4.0",
    )
