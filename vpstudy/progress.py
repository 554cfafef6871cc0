"""Progress of long work: a tqdm bar in interactive use, one terminal line under papermill."""

import os
import shutil
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from operator import length_hint
from pathlib import Path
from typing import TextIO, TypeVar

VARIABLE = "VPSTUDY_PROGRESS"  # environment variable: file where a kernel reports progress to its runner
FILE = "progress"  # name of that file in the runner's scratch folder

T = TypeVar("T")
_running: list[str] = []  # current lines of nested `track` loops, outermost first


def duration(seconds: float) -> str:
    """Format seconds: `40 s`, `3 min`, `2 h 5 min`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def track(iterable: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """Yield from `iterable` and show progress and time left; under the runner, nothing enters the stored notebook."""
    total = length_hint(iterable) if total is None else total
    sink = os.environ.get(VARIABLE)
    if sink is None:
        # Not tqdm.auto: without ipywidgets it only warns in notebooks, and the plain bar works there too.
        from tqdm import tqdm

        yield from tqdm(iterable, desc=label, total=total or None, leave=False)
        return
    level, start, shown = len(_running), time.monotonic(), 0.0
    _running.append(label)
    try:
        for done, item in enumerate(iterable):
            now = time.monotonic()
            if now - shown >= 0.5:
                shown = now
                _running[level] = _line(label, done, total, now - start)
                Path(sink).write_text(" · ".join(_running), encoding="utf-8")
            yield item
    finally:
        del _running[level:]


def _line(label: str, done: int, total: int, elapsed: float) -> str:
    line = f"{label} {done} of {total}" if total else f"{label} {done}"
    if 0 < done < total:
        line += f", about {duration(elapsed / done * (total - done))} left"
    return line


class Relay:
    """Shows a kernel's progress file: one redrawn line on a terminal, a new line every `seconds` in a log file."""

    def __init__(self, source: Path, terminal: TextIO | None = None, seconds: float = 15.0):
        self.source, self.seconds = source, seconds
        self.terminal = terminal or sys.stderr
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._relay, daemon=True)

    def __enter__(self) -> "Relay":
        self.source.parent.mkdir(parents=True, exist_ok=True)
        self.source.write_text("")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.source.unlink(missing_ok=True)

    def _relay(self) -> None:
        drawn = self.terminal.isatty()
        last = ""
        while not self._stop.wait(0.5 if drawn else self.seconds):
            line = self.source.read_text(encoding="utf-8", errors="replace")
            if line in ("", last):  # empty while the kernel rewrites it
                continue
            last = line
            if drawn:
                width = shutil.get_terminal_size().columns - 3
                print(f"\r\033[K  {line[:width]}", end="", file=self.terminal, flush=True)
            else:
                print(f"  {line}", file=self.terminal, flush=True)
        if drawn and last:
            print("\r\033[K", end="", file=self.terminal, flush=True)
