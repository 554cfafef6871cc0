"""The cell of across: its runs, its result, and the files that it leaves."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from studies import checkpoints, results
from studies.across import output, strip
from studies.across.cell import QuantizeCell
from vpstudy import paths
from vpstudy.prompts.codebook import Packed, stored_bytes


@pytest.fixture(scope="module")
def done(untrained):
    cell = untrained(QuantizeCell)
    runs = [*cell.after_training(), *cell.in_training()]
    result = output.result(cell, runs)
    checkpoints.save([cell], [runs], [result], output.files)
    return cell, runs, result


def test_the_result_and_the_files_of_a_cell(done):
    cell, runs, result = done
    (read,) = results.read([cell.cell]).contents
    assert (read["facts"], read["rows"]) == (result["facts"], result["rows"])
    books, bits = cell.settings.codebooks, cell.settings.bits
    after = [("ptq", book, b) for book in books for b in bits]
    plain, other = [("full", None, 32), ("half", None, 16)], [("full_other", None, 32)]
    arms = [(row["arm"], row["codebook"], row["bits"]) for row in result["rows"]]
    other += [("ptq_other", books[0], b) for b in bits]
    assert arms == [*plain, *after, ("grey", None, 0), *other, ("qat", "clustered", 1)]
    stored = load_file(paths.MODELS / "smoke/cnn/quantized/dense-digits/0.safetensors")
    for run, row in zip(runs, result["rows"], strict=True):
        if run.packed:
            packed = Packed(stored[f"{run.method}/0/codes"], stored[f"{run.method}/0/book"], (cell.size,))
            assert torch.equal(packed.unpacked(), run.values) and packed.bytes == row["prompt_bytes"]
        elif run.arm != "grey":
            assert row["prompt_bytes"] == stored_bytes(cell.size, run.bits)
    rms = {(row["arm"], row["codebook"], row["bits"]): row["rms"] for row in result["rows"]}
    assert rms["full", None, 32] == 0 < rms["ptq", "clustered", 8] < rms["ptq", "clustered", 1]
    assert output.summary(result)["bytes"].iloc[0] == 4 * cell.size


def test_the_strip_holds_the_borders_that_are_shown(done):
    cell, runs, result = done
    read = strip.read(results.prompt_path(cell.cell), result["rows"])
    assert list(read) == [("full", 32), ("ptq", 8), ("ptq", 1), ("qat", 1)]
    for (_, *key), picture in output.pictures(cell, runs).items():
        assert np.array_equal(read[tuple(key)], (picture * 255).round().to(torch.uint8).numpy())
        run = next(run for run in runs if [run.arm, run.bits] == key and run.codebook in (None, "clustered"))
        assert torch.equal(picture[cell.border().outside], run.values)


def test_a_strip_of_nothing_is_empty(done):
    cell, _, result = done
    lost = [row | {"status": "diverged"} for row in result["rows"]]
    assert strip.shown(lost) == [] and strip.read(results.prompt_path(cell.cell), lost) == {}
