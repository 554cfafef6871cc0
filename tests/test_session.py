import os
import subprocess
import sys
import time

import psutil

from pipeline import session
from vpstudy import paths

STAGE = """
import sys, time
from pipeline import session
with session.stop_with_dvc():
    print(session.dvc_process().pid, flush=True)
    time.sleep(600)
"""


def test_there_is_no_dvc_above_the_tests():
    assert session.dvc_process() is None


def test_a_stage_ends_with_the_dvc_that_started_it(tmp_path):
    dvc = tmp_path / "dvc"  # a command of that name; its child prints its parent's id, then waits
    dvc.write_text("import subprocess, sys\nsubprocess.run([sys.executable, '-c', sys.argv[1]])\n")
    environment = os.environ | {"PYTHONPATH": str(paths.ROOT)}
    command = [sys.executable, str(dvc), STAGE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        try:
            assert int(parent.stdout.readline()) == parent.pid
            (stage,) = psutil.Process(parent.pid).children()
        finally:
            parent.kill()
    deadline = time.monotonic() + 30
    while stage.is_running() and stage.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_holder_of_locks_that_is_dying_is_waited_for(tmp_path):
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    session.wait_for_killed(tmp_path)  # no locks at all
    holder = subprocess.Popen(["sleep", "1"])
    (tmp_path / ".dvc/tmp/rwlock").write_text(f'{{"a": {{"write": {{"pid": {holder.pid}, "cmd": "dvc"}}}}}}')
    start = time.monotonic()
    session.wait_for_killed(tmp_path, seconds=0.3)
    assert 0.3 <= time.monotonic() - start < 2  # it does not wait for ever
    holder.wait()
    start = time.monotonic()
    session.wait_for_killed(tmp_path)
    assert time.monotonic() - start < 1
