"""A re-run against the committed results: what is the same, what agrees within the seeds, and what does not.

Floating point differs between machines, so a re-run elsewhere cannot give the same bits. What can be asked is
whether it leads to the same numbers as far as the seeds can tell: the mean over seeds of each accuracy and
debiased calibration error, here and as committed.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from pipeline import committed
from pipeline.scales import flat
from vpstudy import paths
from vpstudy.settings import read

METRICS = ("accuracy", "ece_debiased")
NEGLIGIBLE = 0.01  # means that differ by no more agree, even where the seeds hardly vary
ONE_SEED = 0.05  # one seed has no interval: there, values that differ by no more agree
SHOWN = 20  # disagreements that are listed; the rest is counted

RULE = f"""\
Two means over seeds agree if the 95 % interval of their difference (Welch) holds 0, or if they differ by
{NEGLIGIBLE} at most; single values, as of source backbones, if they differ by {ONE_SEED} at most."""
LIMIT = """\
By chance alone about one mean in twenty falls outside its interval. And the seeds repeat the transfer, not
the pretraining: if the source backbone came out otherwise, all that follows from it is shifted together."""


@dataclass(frozen=True)
class Comparison:
    """A metric of one method and budget of a cell. `interval` is of here - committed; None with one seed."""

    place: str
    metric: str
    committed: float
    here: float
    interval: tuple[float, float] | None

    @property
    def difference(self) -> float:
        return self.here - self.committed

    @property
    def agrees(self) -> bool:
        if self.interval is None:
            return abs(self.difference) <= ONE_SEED
        return abs(self.difference) <= NEGLIGIBLE or self.interval[0] <= 0 <= self.interval[1]

    def row(self) -> tuple[str, ...]:
        low_high = "one seed" if self.interval is None else "[{:+.3f}, {:+.3f}]".format(*self.interval)
        numbers = f"{self.committed:.3f}", f"{self.here:.3f}", f"{self.difference:+.3f}"
        return self.place, self.metric, *numbers, low_high


@dataclass(frozen=True)
class Report:
    """What a comparison found, and whether every committed result is there and agrees."""

    lines: list[str]
    agrees: bool


def report(revision: str = "HEAD") -> Report:
    """Compare the results of the scale in `params.yaml` with those committed at `revision`.

    Raises
    ------
    ValueError
        If there is nothing to compare with: no repository, no such commit, no results of this scale in it.
    """
    scale, commit = read(paths.PARAMS).get("scale"), committed.commit(revision)
    folder = paths.RESULTS / str(scale)
    there = {name: text for name, text in committed.files(folder, revision).items() if _is_cell(name)}
    if not there:
        raise ValueError(f"{revision} ({commit}) holds no results of scale {scale} to compare with")
    names = {path.relative_to(paths.ROOT).as_posix(): path for path in folder.rglob("*.json")}
    here = {name: path.read_bytes() for name, path in names.items() if _is_cell(name)}
    missing, new = sorted(there.keys() - here), sorted(here.keys() - there)
    changed = [name for name in there if name in here and there[name] != here[name]]
    same = len(there) - len(missing) - len(changed)
    lines = [
        f"Results of scale {scale}: here against {revision} ({commit})",
        f"  {same} of {len(there)} result files are byte-identical",
        *_counted("committed, but missing here", missing),
        *_counted("only here, with nothing to compare to", new),
    ]
    if not changed:
        return Report(lines, agrees=not missing)

    pairs = {name: (json.loads(there[name]), json.loads(here[name])) for name in changed}
    lines += _environments(list(pairs.values()))
    other = {name: keys for name, pair in pairs.items() if (keys := _other_settings(*pair))}
    lines += _counted(f"ran with other settings ({', '.join(sorted(set().union(*other.values())))})", list(other))
    comparisons, problems = [], []
    for name in pairs.keys() - other:
        found, wrong = compare(PurePosixPath(name).stem, *pairs[name])
        comparisons, problems = comparisons + found, problems + wrong
    apart = sorted((each for each in comparisons if not each.agrees), key=lambda each: -abs(each.difference))
    if comparisons:
        lines += [f"  {len(comparisons) - len(apart)} of {len(comparisons)} means in those that differ agree"]
        lines += ["", *RULE.splitlines()]
    if apart:
        lines += ["", "These do not agree, the worst first:", *_table(apart[:SHOWN])]
        lines += [f"  … and {len(apart) - SHOWN} more"] if len(apart) > SHOWN else []
        lines += ["", *LIMIT.splitlines()]
    if problems:
        lines += ["", "These diverged in one place only:", *(f"  {problem}" for problem in sorted(problems))]
    return Report(lines, agrees=not (missing or other or apart or problems))


def _is_cell(name: str) -> bool:
    """Whether a file is a cell's result; the ledger of claims is none, and follows from them."""
    return name.endswith(".json") and PurePosixPath(name).name != "claims.json"


def compare(name: str, old: dict[str, Any], new: dict[str, Any]) -> tuple[list[Comparison], list[str]]:
    """Two records of one cell: every metric that both have, and in words what only one of them has."""
    comparisons, problems = [], []
    before, after = _arms(old), _arms(new)
    for arm in dict.fromkeys([*before, *after]):
        place = " ".join(filter(None, (name, *arm)))
        ok = [[row["metrics"] for row in rows.get(arm, []) if row["status"] == "ok"] for rows in (before, after)]
        if len(ok[0]) != len(ok[1]):
            problems.append(f"{place}: {len(ok[0])} seeds have a result as committed, {len(ok[1])} here")
        elif ok[0]:
            comparisons += [_means(place, key, *([m[key] for m in metrics] for metrics in ok)) for key in METRICS]
    return comparisons, problems


def _means(place: str, metric: str, old: list[float], new: list[float]) -> Comparison:
    from scipy.stats import ttest_ind

    means = sum(old) / len(old), sum(new) / len(new)
    if len(old) < 2:
        return Comparison(place, metric, *means, None)
    if len({*old}) == len({*new}) == 1:  # no spread, for which scipy has no interval
        return Comparison(place, metric, *means, (means[1] - means[0],) * 2)
    # Not paired by seed: how much a pair still shares after two machines have drifted apart is unknown, and
    # three differences that happen to be alike would make an interval of no width.
    interval = ttest_ind(new, old, equal_var=False).confidence_interval(0.95)
    return Comparison(place, metric, *means, (float(interval.low), float(interval.high)))


def _arms(record: dict[str, Any]) -> dict[tuple[str, str | None], list[dict[str, Any]]]:
    arms: dict[tuple[str, str | None], list[dict[str, Any]]] = {}
    for row in record["rows"]:
        arms.setdefault((row["method"], row["budget"]), []).append(row)
    return arms


def _environments(pairs: list[tuple[dict[str, Any], dict[str, Any]]]) -> Iterator[str]:
    """One line for each version or device that differs; in order, without repetition."""
    differing = {
        f"  {key}: {old['environment'].get(key)} as committed, {value} here"
        for old, new in pairs
        for key, value in new["environment"].items()
        if old["environment"].get(key) != value
    }
    yield from sorted(differing)


def _other_settings(old: dict[str, Any], new: dict[str, Any]) -> set[str]:
    before, after = flat(old["cell"]["settings"]), flat(new["cell"]["settings"])
    return {key for key in before | after if before.get(key) != after.get(key)}


def _counted(what: str, names: list[str]) -> list[str]:
    if not names:
        return []
    stems = [PurePosixPath(name).stem for name in names]
    more = f", … and {len(stems) - 3} more" if len(stems) > 3 else ""
    return [f"  {len(names)} {what}: {', '.join(stems[:3])}{more}"]


def _table(comparisons: list[Comparison]) -> Iterator[str]:
    head = ("cell, method, budget", "metric", "committed", "here", "difference", "95 % interval")
    rows = [head, *(each.row() for each in comparisons)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        numbers = [text.rjust(width) for text, width in zip(row[2:5], widths[2:5], strict=True)]
        yield "  " + "  ".join([row[0].ljust(widths[0]), row[1].ljust(widths[1]), *numbers, row[5]])
