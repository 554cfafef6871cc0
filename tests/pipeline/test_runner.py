"""Stages on Dask's workers, in a pipeline that takes no time: what runs, what fails, what is lost, what is stopped."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import tiny
from distributed import LocalCluster

from pipeline import stages, timings, workers
from vpstudy import paths

DIGITS, FACES = "transfer@cnn-digits", "transfer@cnn-faces"


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    return tiny.make(tmp_path / "project")


@pytest.fixture(scope="module")
def cluster():
    """The address of a scheduler whose one worker offers two cores: to start one takes longer than most tests."""
    options = {"n_workers": 1, "threads_per_worker": 2, "resources": {workers.CORES: 2}, "memory_limit": 0}
    with LocalCluster(**options, dashboard_address=None, silence_logs=logging.CRITICAL) as made:
        yield made.scheduler_address


def stale(root):
    found = stages.Stages(root)
    return found.out_of_date(found.by_name)


def test_all_run_once_in_order_and_nothing_runs_again(root, capsys):
    made, finished = tiny.run(root)
    assert finished and not made.failed
    assert (root / "ran.txt").read_text().split()[0] == "source@cnn"
    assert tiny.ran(root) == sorted(tiny.ALL[1:])
    assert stale(root) == {}
    assert "[4 of 4 done]" in capsys.readouterr().err


def test_what_follows_runs_only_if_it_came_out_otherwise(root, cluster):
    tiny.run(root, cluster=cluster)
    tiny.ran(root)
    tiny.edit(root / "params.yaml", "1e-5", "1e-4")  # source writes the same again
    made, _ = tiny.run(root, cluster=cluster)
    assert tiny.ran(root) == ["source@cnn"] and made._total == 1
    tiny.run(root, ("transfer",), force=True, cluster=cluster)
    assert tiny.ran(root) == ["source@cnn", DIGITS, FACES]


def test_a_failure_costs_only_what_depends_on_it(root, cluster, capsys):
    made, finished = tiny.run(root, orders={DIGITS: "fail"}, cluster=cluster)
    assert finished and made.failed == {DIGITS: "it was told to"}
    assert f"{DIGITS} failed: it was told to" in capsys.readouterr().err
    assert stale(root).keys() == {DIGITS, "final"}
    tiny.run(root, cluster=cluster)
    assert stale(root) == {}


def test_the_cell_of_a_lost_worker_runs_again(root):
    made, finished = tiny.run(root, orders={DIGITS: "die once"})
    assert finished and not made.failed
    assert tiny.ran(root).count(DIGITS) == 2
    assert stale(root) == {}


def test_what_changed_while_it_ran_is_not_recorded(root, cluster, capsys):
    def meanwhile():
        while DIGITS not in (root / "ran.txt").read_text() if (root / "ran.txt").exists() else True:
            time.sleep(0.05)
        tiny.edit(root / "params.yaml", "seeds: [0, 1]", "seeds: [7]")
        (root / "go on").touch()

    threading.Thread(target=meanwhile).start()
    made, finished = tiny.run(root, orders={DIGITS: "wait"}, cluster=cluster)
    assert finished and DIGITS in made.edited
    assert f"{DIGITS}: what it depends on changed while it ran, so it will run again" in capsys.readouterr().err
    assert DIGITS in stale(root)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_stopped_it_leaves_nothing_at_work_and_continues(root, cluster, number):
    script = root.parent / "script.py"
    script.write_text(f"""
import sys, tiny
if __name__ == "__main__":
    made, finished = tiny.run(tiny.Path({str(root)!r}), orders={{{DIGITS!r}: "wait"}})
    sys.exit(not finished)
""")
    path = os.pathsep.join([str(paths.ROOT), str(Path(__file__).parent)])
    environment = os.environ | {"PYTHONPATH": path}
    process = subprocess.Popen(
        [sys.executable, str(script)], env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while FACES not in (root / "dvc.lock").read_text() if (root / "dvc.lock").exists() else True:
        assert process.poll() is None
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)  # as a terminal does
    said = process.communicate()[1]
    if number != signal.SIGKILL:
        assert process.returncode == 1 and "interrupted, finishing up" in said and "Traceback" not in said
    psutil.wait_procs(children)
    assert {DIGITS, "final"} == stale(root).keys()
    tiny.ran(root)
    (root / "go on").touch()
    tiny.run(root, cluster=cluster)
    assert tiny.ran(root) == ["final", DIGITS]


def test_estimates_are_of_this_stage_else_of_its_kind_and_learn(root):
    found = stages.Stages(root)
    (root / "timings").mkdir()
    (root / f"timings/{DIGITS}.json").write_text('{"seconds": 10}')
    estimate = timings.Estimate(found, root / "timings", lambda name: 1)
    assert [estimate.seconds(name) for name in (DIGITS, FACES, "final")] == [10, 10, None]
    assert estimate.left([DIGITS, FACES], 2) == 10
    assert timings.Estimate(found, root / "timings", lambda name: 2).left([DIGITS, FACES], 2) == 20
    assert estimate.left([DIGITS, FACES], 2, {DIGITS: 4, FACES: 4}) == 6
    assert estimate.left(["final"], 2) is None
    assert estimate.words([DIGITS, FACES], 2) == "about 10 s left"
    assert estimate.words([DIGITS, "final"], 2) == "about 10 s left, no time known yet for 1 more"
    assert estimate.words(["final"], 2) == "no time known yet"
    assert estimate.words([DIGITS], 2, {DIGITS: 10}) == "longer than expected"
    estimate.learn(DIGITS, 30)
    assert estimate.seconds(FACES) == 30
    assert estimate.longest_ways()["source@cnn"] > estimate.longest_ways()[FACES] > estimate.longest_ways()["final"]


def test_a_scheduler_that_is_there_serves_if_its_workers_say_how_many_cores_they_have(root, cluster):
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(**options) as silent, pytest.raises(ValueError, match="does not say how many cores it has"):
        tiny.run(root, cluster=silent.scheduler_address)
    made, finished = tiny.run(root, cluster=cluster)
    assert finished and made.cores == 2 and stale(root) == {}


def test_an_unknown_cluster_says_what_there_is():
    with (
        pytest.raises(ValueError, match="cluster 'pbs' is unknown; allowed: local, slurm"),
        workers.connect("pbs", 1, 1),
    ):
        pytest.fail("there is none")
