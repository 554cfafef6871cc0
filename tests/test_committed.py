"""What is committed comes from what is committed: in a fresh clone, nothing would run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from vpstudy import paths

SCALES = sorted(path.name for path in paths.RESULTS.glob("*")) if paths.RESULTS.exists() else []


@pytest.mark.slow
@pytest.mark.parametrize("scale", SCALES)
def test_nothing_is_out_of_date_in_a_fresh_clone(scale, tmp_path):
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(paths.ROOT), str(clone)], check=True)
    environment = os.environ | {"PYTHONPATH": str(clone)}
    held = yaml.safe_load((clone / "params.yaml").read_text())["scale"]
    words = [["pipeline.cli", "scale", scale]] if scale != held else []
    for command in [*words, ["dvc", "repro", "--allow-missing", "--dry"]]:
        done = subprocess.run(
            [sys.executable, "-m", *command], cwd=clone, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    assert "Running stage" not in done.stdout + done.stderr
    assert "didn't change" in done.stdout + done.stderr


def test_the_default_scale_is_committed_with_its_figures():
    assert "default" in SCALES
    assert (paths.FIGURES / "default" / "hidden_cost" / "accuracy_by_sparsity.png").exists()
    assert (paths.RENDERED / "default" / "90_hidden_cost.ipynb").exists()


def test_no_smoke_results_are_committed():
    tracked = subprocess.run(["git", "ls-files"], cwd=paths.ROOT, capture_output=True, text=True, check=True).stdout
    assert not [name for name in tracked.splitlines() if "smoke" in Path(name).parts]
