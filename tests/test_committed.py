"""What is committed comes from what is committed: in a fresh clone, nothing would run."""

import os
import subprocess
import sys

import pytest

from vpstudy import paths

SCALES = sorted(path.name for path in paths.RESULTS.glob("*") if (path / "claims.json").exists())


@pytest.mark.slow
@pytest.mark.parametrize("scale", SCALES)
def test_nothing_is_out_of_date_in_a_fresh_clone(scale, tmp_path):
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(paths.ROOT), str(clone)], check=True)
    environment = os.environ | {"PYTHONPATH": str(clone), "DVC_SITE_CACHE_DIR": str(tmp_path / "site")}
    for command in (["pipeline.cli", "scale", scale], ["dvc", "repro", "--allow-missing", "--dry"]):
        words = [sys.executable, "-m", *command]
        done = subprocess.run(words, cwd=clone, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert "Running stage" not in done.stdout + done.stderr
    assert "didn't change" in done.stdout + done.stderr


def test_the_default_scale_is_committed_with_its_figures():
    assert (paths.FIGURES / "default" / "hidden_cost" / "accuracy_by_sparsity.png").exists()
    assert (paths.RENDERED / "default" / "90_hidden_cost.ipynb").exists()
