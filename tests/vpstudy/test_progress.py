import io
import time
from itertools import count

import pytest

from vpstudy import progress


@pytest.fixture
def sink(tmp_path, monkeypatch):
    """The file of a kernel that runs under the runner, and a clock that moves ten seconds at each look."""
    monkeypatch.setenv(progress.VARIABLE, str(tmp_path / "progress"))
    clock = iter(range(0, 10_000, 10))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    return tmp_path / "progress"


class Terminal(io.StringIO):
    def __init__(self, tty):
        super().__init__()
        self.tty = tty

    def isatty(self):
        return self.tty


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (60, "1 min"), (89, "1 min"), (3599, "1 h 0 min"), (7500, "2 h 5 min")],
)
def test_durations_read_as_said(seconds, text):
    assert progress.duration(seconds) == text


def test_under_the_runner_the_line_says_how_far_and_how_long(sink, capsys):
    said = [(item, sink.read_text()) for item in progress.track("abc", "arm")]
    assert said == [
        ("a", "arm 0 of 3"),
        ("b", "arm 1 of 3, about 40 s left"),  # 20 s for one, two to go
        ("c", "arm 2 of 3, about 15 s left"),
    ]
    assert capsys.readouterr() == ("", "")  # nothing for the stored notebook


def test_inner_loops_follow_the_outer_line_and_leave_with_their_loop(sink):
    said = []
    for _ in progress.track([1], "arm"):
        for _ in progress.track(range(5), "step"):
            said.append(sink.read_text())
            break
    said += [sink.read_text() for _ in progress.track(iter("a"), "next")]
    assert said == ["arm 0 of 1 · step 0 of 5", "next 0 of 1"]


def test_a_loop_that_fails_leaves_no_rest(sink):
    def fail():
        for _ in progress.track([1], "fails"):
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    list(progress.track([1], "next"))
    assert sink.read_text() == "next 0 of 1"


def test_an_unknown_length_is_counted_without_an_end(sink):
    said = [sink.read_text() for _ in progress.track((letter for letter in "ab"), "picture")]
    assert said == ["picture 0", "picture 1"]


def test_lines_are_written_twice_a_second_at_most(tmp_path, monkeypatch):
    monkeypatch.setenv(progress.VARIABLE, str(tmp_path / "progress"))
    looks = count()
    monkeypatch.setattr(progress.time, "monotonic", lambda: 100 + next(looks) / 4)  # a quarter of a second each
    said = [(tmp_path / "progress").read_text() for _ in progress.track(range(5), "step")]
    lines = "step 0 of 5", "step 2 of 5, about 1 s left", "step 4 of 5, about 0 s left"
    assert said == [lines[0], lines[0], lines[1], lines[1], lines[2]]


def test_elsewhere_it_is_a_bar_that_goes_away(monkeypatch, capsys):
    monkeypatch.delenv(progress.VARIABLE, raising=False)
    assert list(progress.track("abc", "arm", total=3)) == ["a", "b", "c"]
    bar = capsys.readouterr().err
    assert "arm" in bar
    assert not bar.endswith("\n")


@pytest.mark.parametrize("tty", [True, False])
def test_the_relay_shows_each_line_once(tmp_path, tty):
    terminal = Terminal(tty)
    source = tmp_path / "new" / "progress"
    with progress.Relay(source, terminal, seconds=0.05):
        for line in ("step 1 of 3", "", "step 2 of 3"):
            source.write_text(line)
            while line not in terminal.getvalue():
                time.sleep(0.01)
    shown = terminal.getvalue()
    if tty:
        assert shown == "\r\033[K  step 1 of 3\r\033[K  step 2 of 3\r\033[K"
    else:
        assert shown == "  step 1 of 3\n  step 2 of 3\n"
    assert not source.exists()
