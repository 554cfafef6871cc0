"""The borders that a strip shows."""

import pytest

from studies.across import strip


@pytest.mark.parametrize("book", ["clustered", "uniform"])
def test_a_strip_shows_the_first_codebook_of_the_cell(book):
    arms = [("full", None, 32), ("ptq", book, 8), ("ptq", "random", 8), ("grey", None, 0), ("qat", "clustered", 1)]
    rows = [{"arm": arm, "codebook": of, "bits": bits, "seed": 0, "status": "ok"} for arm, of, bits in arms]
    assert strip.shown(rows) == [("full", 32), ("ptq", 8), ("qat", 1)]
