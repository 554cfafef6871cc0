"""The pruning cell on an untrained backbone: its arms, its result, and the files it leaves."""

import numpy as np
import pytest
import torch
from PIL import Image
from running import run
from safetensors.torch import load_file

from pipeline import scales
from studies import checkpoints, results
from studies.rows import png
from studies.vpns import output
from studies.vpns.cell import PruneCell
from vpstudy import paths
from vpstudy.data import glyphs
from vpstudy.models import backbones
from vpstudy.models.architectures import ARCHITECTURES
from vpstudy.training.fit import Diverged


@pytest.fixture
def make(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "MODELS", tmp_path / "models")
    monkeypatch.setattr(paths, "PROBABILITIES", tmp_path / "probabilities")
    monkeypatch.setattr(paths, "TIMINGS", tmp_path / "timings")
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    source = backbones.Backbone(ARCHITECTURES["cnn"], glyphs.class_names, seed=1)
    backbones.save(source, paths.MODELS / "smoke/cnn/source/0.safetensors")
    return lambda pruner: PruneCell(scales.parameters("smoke"), "cnn", "digits", pruner)


def written(cell: PruneCell) -> dict:
    done = run(cell)
    result = output.result(cell, done)
    checkpoints.save([cell], [done], [result], output.files)
    (read,) = results.read([cell.cell]).contents
    assert (read["facts"], read["rows"]) == (result["facts"], result["rows"])
    return result


def test_arms_follow_from_the_role_of_the_method(make):
    at = {pruner: make(pruner).arms for pruner in ("dense", "omp", "vpns", "vpns_channels")}
    assert at["dense"] == [("main", 0.0), ("two_pass", 0.0), ("prompted", 0.0)]
    assert [arm for arm, _ in at["omp"]][:3] == ["main", "published", "untouched"]
    assert at["vpns"] == [("main", 0.5), ("bn", 0.5), ("source_mask", 0.5)]
    assert at["vpns_channels"] == [("main", 0.3)]
    with pytest.raises(ValueError, match="pruner 'vpn' is unknown; allowed: dense, random"):
        make("vpn")


def test_the_result_and_the_files_of_a_cell(make):
    cell = make("vpns")
    result = written(cell)
    assert [row["method"] for row in result["rows"]] == [
        f"{arm} {sparsity:g} {view}" for arm, sparsity in cell.arms for view in ("bare", "prompted")
    ]
    stored = load_file(paths.PROBABILITIES / "smoke" / cell.cell.file / "0.safetensors")
    for row in result["rows"]:
        key = f"{row['arm']}/0.5/0/test"
        right = stored[f"{key}/{row['view']}"].argmax(1) == stored[f"{key}/labels"]
        assert right.double().mean().item() == pytest.approx(row["metrics"]["accuracy"])
    learned = load_file(paths.MODELS / "smoke/cnn/pruned/digits-vpns/0.safetensors")
    kept = [tensor for name, tensor in learned.items() if name.startswith("main/0.5/0/mask.")]
    assert sum(int(each.sum()) for each in kept) == sum(each.numel() for each in kept) - round(
        0.5 * sum(each.numel() for each in kept)
    )
    shown = torch.from_numpy(np.array(Image.open(results.prompt_path(cell.cell)))).permute(2, 0, 1)
    prompt = learned["main/0.5/0/prompt.theta"]
    frame = torch.ones(32, 32, dtype=torch.bool)
    frame[2:-2, 2:-2] = False
    expected = ((0.5 + torch.where(frame, prompt, 0.0)).clamp(0, 1) * 255).round().to(torch.uint8)
    assert torch.equal(shown, expected)
    assert output.summary(result)["arm"].iloc[0] == "tuned"
    assert [len(each) for each in output.mapping_pairs(cell)] == [10] * 4


def test_runs_that_diverge_are_results(make, monkeypatch):
    def diverges(*_, **__):
        raise Diverged("too far")

    monkeypatch.setattr("vpstudy.training.mask_search.run.train", diverges)
    cell = make("vpns")
    result = written(cell)
    reasons = {row["arm"]: (row["status"], row["reason"]) for row in result["rows"]}
    assert reasons["main"] == ("diverged", "too far")
    assert reasons["bn"] == ("diverged", "the main run: too far")
    grey = cell.settings.make_prompt(0).picture()
    assert results.prompt_path(cell.cell).read_bytes() == png(grey)
