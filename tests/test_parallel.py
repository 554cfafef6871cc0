"""Stages side by side: in order, within the cores there are, stopped and failed without leaving anything at work."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline import judge, parallel, pipeline
from pipeline.definition import Output, Stage

JOB = """
import sys, time
name, folder, code, seconds = sys.argv[1:]
with open(f"{folder}/log", "a") as log: log.write(f"start {name}\\n")
time.sleep(float(seconds))
with open(f"{folder}/log", "a") as log: log.write(f"end {name}\\n")
print("said by", name)
sys.exit(int(code))
"""


def stage(name: str, *deps: str) -> Stage:
    return Stage(name, name, deps, (), (Output(name),))


class Told:
    """A ledger that keeps what it is told."""

    def __init__(self, root):
        self.root = root

    def add(self, name, inputs, urgent):
        with (self.root / "told").open("a") as file:
            file.write(f"{name}\n")

    def bring_back(self, finished, waiting): ...

    def write(self, wait=False): ...

    def close(self): ...


STAGES = [stage("chain@a"), stage("cell@b", "chain@a"), stage("cell@c", "chain@a"), stage("last@d", "cell@b", "cell@c")]


def job(name, folder, code, seconds):
    return [sys.executable, "-c", JOB, name, str(folder), str(code), seconds]


@pytest.fixture
def runner(tmp_path, monkeypatch):
    """A runner of STAGES whose commands are small scripts; what they did stands in `log`."""
    steps = [pipeline.Step(s, judge.WILL_RUN, "new", 1.0) for s in STAGES]
    monkeypatch.setattr(pipeline, "plan", lambda *_: steps)
    monkeypatch.setattr(judge, "judge", lambda root: [judge.Verdict(s, judge.WILL_RUN, "new") for s in STAGES])

    def make(targets=(), cores=2, codes=None, seconds="0.4"):
        return parallel.Runner(
            list(targets),
            {},
            weight=lambda kind: 2 if kind == "chain" else 1,
            cores=cores,
            root=tmp_path,
            command=lambda s: job(s.name, tmp_path, (codes or {}).get(s.name, 0), seconds),
            ledger=Told,
        )

    make.log = lambda: (tmp_path / "log").read_text().splitlines() if (tmp_path / "log").exists() else []
    return make


def test_cells_run_side_by_side_after_what_they_need(runner, capfd):
    assert runner().run() == 0
    log = runner.log()
    assert log[:2] == ["start chain@a", "end chain@a"]
    assert {*log[2:4]} == {"start cell@b", "start cell@c"}  # both before either ends
    assert log[-2:] == ["start last@d", "end last@d"]
    printed = capfd.readouterr().err
    assert "[0 of 4 done] chain@a · about" in printed and "[4 of 4 done]" in printed


def test_one_core_runs_one_after_another_and_the_heaviest_still_runs(runner):
    assert runner(cores=1, seconds="0.05").run() == 0
    assert [line.split()[0] for line in runner.log()] == ["start", "end"] * 4


def test_a_failure_stops_what_comes_after_is_waited_for_and_told(runner, capfd, tmp_path):
    assert runner(codes={"cell@b": 3}).run() == 3
    assert "end cell@c" in runner.log() and "start last@d" not in runner.log()
    printed = capfd.readouterr().err
    assert "cell@b failed:" in printed and "said by cell@b" in printed
    assert (tmp_path / "told").read_text().splitlines() == ["chain@a", "cell@c"]


def test_targets_bring_what_they_need_and_nothing_else(runner):
    assert runner(["cell@c"], seconds="0.05").run() == 0
    assert runner.log() == ["start chain@a", "end chain@a", "start cell@c", "end cell@c"]
    with pytest.raises(ValueError, match="cel: no such stage"):
        runner(["cel"]).run()


def test_what_came_out_the_same_is_not_run(runner, monkeypatch, capfd):
    first, *after = STAGES
    steps = [pipeline.Step(first, judge.WILL_RUN, "new", 1.0)]
    steps += [pipeline.Step(s, judge.MAY_RUN, "after chain@a", 1.0) for s in after]
    monkeypatch.setattr(pipeline, "plan", lambda *_: steps)
    monkeypatch.setattr(judge, "changed", lambda stage, root: "new" if stage is first else "")
    assert runner(seconds="0.05").run() == 0
    assert runner.log() == ["start chain@a", "end chain@a"]
    assert "[1 of 1 done]" in capfd.readouterr().err


def test_what_was_there_before_is_gone_and_a_change_meanwhile_is_noticed(runner, tmp_path, capfd):
    (tmp_path / "cell@b").write_text("an old output")
    (tmp_path / "chain@a").write_text("1")  # the input of the cells
    made = runner(["cell@b"], seconds="1.0")
    command = made.command
    made.command = lambda s: command(s) if s.name == "chain@a" else job(s.name, tmp_path, 0, "1.5")
    threading.Timer(2.0, lambda: (tmp_path / "chain@a").write_text("edited")).start()
    assert made.run() == 0
    assert not (tmp_path / "cell@b").exists()
    assert "cell@b: chain@a changed while it ran: it will run again" in capfd.readouterr().err
    assert (tmp_path / "told").read_text().splitlines() == ["chain@a"]


@pytest.mark.parametrize(("number", "group"), [(signal.SIGINT, True), (signal.SIGTERM, False), (signal.SIGKILL, False)])
def test_nothing_is_left_at_work(tmp_path, number, group):
    """Ctrl-C reaches all; a termination is passed on; after a kill the system ends the stages."""
    if number == signal.SIGKILL and sys.platform != "linux":
        pytest.skip("only Linux ends children with their parent")
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_parallel as t
from pipeline import judge, parallel, pipeline
steps = [pipeline.Step(s, judge.WILL_RUN, "new", 1.0) for s in t.STAGES]
pipeline.plan = lambda *_: steps
judge.judge = lambda root: [judge.Verdict(s, judge.WILL_RUN, "new") for s in t.STAGES]
root = parallel.paths.Path({str(tmp_path)!r})
command = lambda s: t.job(s.name, root, 0, "30")
sys.exit(parallel.Runner([], {{}}, weight=lambda kind: 1, cores=2, root=root, command=command, ledger=t.Told).run())
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 30
    while not (tmp_path / "log").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    jobs = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True).stdout.split()
    assert len(jobs) >= 2
    os.killpg(process.pid, number) if group else process.send_signal(number)
    assert process.wait(20) != 0
    while time.monotonic() < deadline:
        left = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True).stdout.split()
        if not left:
            return
        time.sleep(0.1)
    pytest.fail(f"still at work: {left}")
