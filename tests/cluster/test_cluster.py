"""The smoke grid on a real SLURM of one node, one of whose workers is killed in the middle."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from test_whole_way import clone_of_project, environment, made, vpstudy

VARIABLE = "VPSTUDY_TEST_CLUSTER"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(VARIABLE not in os.environ, reason="needs SLURM: `make test-cluster` installs and starts one"),
]
JOBQUEUE = """
jobqueue:
  slurm:
    cores: 1
    processes: 1
    memory: 2GB
    queue: cells
    interface: lo
    walltime: "01:00:00"
    log-directory: {folder}/jobs
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """Variables of processes that use the cluster."""
    folder, script = tmp_path_factory.mktemp("slurm"), Path(__file__).with_name("slurm.sh")
    (folder / "jobqueue.yaml").write_text(JOBQUEUE.format(folder=folder))
    subprocess.run([script, "start", folder], check=True)
    yield {"SLURM_CONF": str(folder / "slurm.conf"), "DASK_CONFIG": str(folder / "jobqueue.yaml")}
    subprocess.run([script, "stop", folder], check=True)


def workers() -> list[psutil.Process]:
    """The processes of SLURM's jobs that run cells."""
    found = [p for p in psutil.process_iter(["cmdline"]) if "distributed.cli.dask_worker" in (p.info["cmdline"] or [])]
    return [process for process in found if process.children()]


def test_the_smoke_grid_with_a_worker_killed_in_the_middle(slurm, tmp_path):
    here, there = clone_of_project(tmp_path / "here"), clone_of_project(tmp_path / "there")
    vpstudy(here, "repro")
    command = [sys.executable, "-m", "pipeline.cli", "repro", "--cluster", "slurm", "--jobs", "2"]
    with subprocess.Popen(command, cwd=there, env=environment(there) | slurm) as run:
        while not list((there / "data/results/smoke").rglob("compress-*.json")) and run.poll() is None:
            time.sleep(0.2)
        assert len(workers()) == 2
        lost = workers()[0]
        for process in [lost, *lost.children(recursive=True)]:
            process.kill()
    assert run.returncode == 0
    assert made(there) == made(here)
