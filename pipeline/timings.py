"""How long stages take: from the seconds of earlier runs on this machine, and of those that have ended in this one."""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from vpstudy.progress import duration

if TYPE_CHECKING:  # DVC is heavy
    from pipeline.stages import Stages


class Estimate:
    """Seconds of stages from `folder`/STAGE.json: its own of an earlier run, else the mean of its kind."""

    def __init__(self, stages: "Stages", folder: Path, threads: Callable[[str], int]):
        self.stages, self.threads = stages, threads  # threads: cores that a stage takes
        self._recorded: dict[str, float] = {}
        for file in folder.glob("*.json"):
            if file.stem in stages.by_name and (seconds := json.loads(file.read_text()).get("seconds")):
                self._recorded[file.stem] = seconds
        self._took: dict[str, float] = {}  # in this run
        self._expected: dict[str, float] = {}  # of those, before

    def learn(self, name: str, seconds: float) -> None:
        """Take in that `name` took so long in this run."""
        if (expected := self.seconds(name)) is not None:
            self._expected[name] = expected
        self._took[name] = seconds

    def seconds(self, name: str) -> float | None:
        """What `name` will take; None where nothing is known of its kind.

        Scaled by how the stages that have ended in this run compare with what was expected of them.
        """
        known = sum(self._expected.values())
        scale = sum(self._took[each] for each in self._expected) / known if known else 1.0
        if name in self._recorded:
            return self._recorded[name] * scale
        kind = name.split("@")[0]
        for seconds, factor in ((self._took, 1.0), (self._recorded, scale)):
            if alike := [value for other, value in seconds.items() if other.split("@")[0] == kind]:
                return fmean(alike) * factor
        return None

    def longest_ways(self, names: Iterable[str] | None = None) -> dict[str, float]:
        """Seconds from the start of each of `names` (all) to the end of the last that waits for it, on many cores."""
        found: dict[str, float] = {}
        wanted = set(self.stages.by_name if names is None else names)
        for name in reversed(list(self.stages.by_name)):
            if name in wanted:
                after = max((found.get(child, 0.0) for child in self.stages.children(name)), default=0.0)
                found[name] = after + (self.seconds(name) or 1.0)
        return found

    def left(self, names: Iterable[str], cores: int, elapsed: Mapping[str, float] | None = None) -> float | None:
        """Seconds until all `names` have run on so many cores; None where nothing is known at all.

        `elapsed` are the seconds that those at work have taken so far.
        """
        names, elapsed = list(names), elapsed or {}
        known = {name: seconds for name in names if (seconds := self.seconds(name)) is not None}
        if not known and not self._took:
            return None
        mean = fmean((known or self._took).values())  # for those of which nothing is known
        alone = {name: max(0.0, known.get(name, mean) - elapsed.get(name, 0.0)) for name in names}
        work = sum(seconds * min(self.threads(name), cores) for name, seconds in alone.items())
        return max([work / cores, *(self.longest_ways(names)[name] - elapsed.get(name, 0.0) for name in names)])

    def words(self, names: Iterable[str], cores: int, elapsed: Mapping[str, float] | None = None) -> str:
        """The time left in words. Of a kind that has never run here nothing is guessed: seconds or an hour."""
        names = list(names)
        known = [name for name in names if self.seconds(name) is not None]
        if not known:
            return "no time known yet"
        rest, left = len(names) - len(known), self.left(known, cores, elapsed)
        text = f"about {duration(left)} left" if left else "longer than expected"
        return text + (f", no time known yet for {rest} more" if rest else "")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
