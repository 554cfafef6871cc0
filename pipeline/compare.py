"""A re-run against the committed results: which verdicts agree, what is the same, and what differs beyond the seeds.

Floating point differs between machines, so a re-run on another gives other bits. What can be asked is whether it leads
to the same numbers as far as the seeds can tell: means over seeds of accuracy and debiased calibration error.
"""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from pipeline.scales import flat
from studies.parameters import read
from vpstudy import paths

METRICS = ("accuracy", "ece_debiased")
NEGLIGIBLE = 0.01  # means that differ by no more agree, even where the seeds hardly vary
ONE_SEED = 0.05  # one seed has no interval: there, values that differ by no more agree
SHOWN = 20  # lines of a list; the rest is counted
PRODUCED = ("data/results", "data/splits", "figures", "notebooks/rendered", "dvc.lock", "scales/*/dvc.lock")  # in git

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

    def line(self) -> str:
        interval = "one seed" if self.interval is None else "[{:+.3f}, {:+.3f}]".format(*self.interval)
        numbers = f"{self.committed:.3f} → {self.here:.3f} ({self.difference:+.3f}, {interval})"
        return f"  {self.place} {self.metric}: {numbers}"


@dataclass(frozen=True)
class Report:
    """What a comparison found, and whether every committed result is there and agrees."""

    lines: list[str]
    agrees: bool


def report(revision: str = "HEAD") -> Report:
    """Compare the results of the scale in `params.yaml` with those committed at `revision`.

    Raises ValueError if there is nothing to compare with: no repository, no such commit, no results of this scale.
    """
    scale, commit = str(read(paths.PARAMS).get("scale")), _commit(revision)
    there = _committed(f"data/results/{scale}", revision)
    claims = f"data/results/{scale}/claims.json"
    cells = {name: text for name, text in there.items() if name.endswith(".json") and name != claims}
    if not cells:
        raise ValueError(f"{revision} ({commit}) holds no results of scale {scale} to compare with")
    found = {path.relative_to(paths.ROOT).as_posix(): path for path in (paths.RESULTS / scale).rglob("*.json")}
    here = {name: path.read_bytes() for name, path in found.items()}
    missing, new = sorted(cells.keys() - here), sorted(here.keys() - there)
    pairs = {n: (json.loads(cells[n]), json.loads(here[n])) for n in cells if n in here and cells[n] != here[n]}
    lines = [
        _verdicts(there.get(claims), here.get(claims)),
        f"Results of scale {scale}: here against {revision} ({commit})",
        f"  {len(cells) - len(missing) - len(pairs)} of {len(cells)} result files are byte-identical",
        *_counted("committed, but missing here", missing),
        *_counted("only here, with nothing to compare to", new),
        *_environments(list(pairs.values())),
    ]
    other = {name: keys for name, pair in pairs.items() if (keys := _other_settings(*pair))}
    lines += _counted(f"ran with other settings ({', '.join(sorted(set().union(*other.values())))})", list(other))
    comparisons, problems = [], []
    for name in pairs.keys() - other:
        compared, wrong = compare(PurePosixPath(name).stem, *pairs[name])
        comparisons, problems = comparisons + compared, problems + wrong
    apart = sorted((each for each in comparisons if not each.agrees), key=lambda each: -abs(each.difference))
    if comparisons:
        lines += [f"  {len(comparisons) - len(apart)} of {len(comparisons)} means in those that differ agree", "", RULE]
    if apart:
        lines += ["", "These do not agree, the worst first (committed → here):"]
        lines += [*_shortened([each.line() for each in apart]), "", LIMIT]
    if problems:
        lines += ["", "These diverged in one place only:", *(f"  {problem}" for problem in sorted(problems))]
    return Report(lines, agrees=not (missing or other or apart or problems))


def after_a_run() -> list[str]:
    """What `repro` ends with: the comparison, where there is anything to compare with, and what is not committed."""
    try:
        return ["", *report().lines, *unsaved()]
    except ValueError as error:
        return ["", f"not compared: {error}"]


def unsaved() -> list[str]:
    """Which files of the pipeline differ from HEAD, and how to keep them or go back; [] if none do."""
    status = _git("status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--", *PRODUCED)
    prefix = _git("rev-parse", "--show-prefix").decode().strip()  # git names files from the repository's top
    entries = {e[3:].removeprefix(prefix): e[:2] for e in status.decode().split("\0") if e}
    if not entries:
        return []
    new = [name for name, code in entries.items() if code[0] in "?A"]
    places = [place for place in PRODUCED if any(PurePosixPath(n).match(place) or n.startswith(place) for n in entries)]
    back = f"git checkout HEAD -- {' '.join(n for n in entries if n not in new)}" if len(new) < len(entries) else ""
    clean = f"git reset -q -- {' '.join(places)}; git clean -fd -- {' '.join(places)}" if new else ""
    return [
        "",
        f"Files of the pipeline that are not committed as they are now ({len(entries)}):",
        *_shortened([f"  {'new' if name in new else 'changed'}  {name}" for name in entries]),
        f'To keep them:  git add {" ".join(places)} && git commit -m "Results of a re-run"',
        f"To go back:    {'; '.join(filter(None, [clean, back]))}",
    ]


def compare(name: str, old: dict[str, Any], new: dict[str, Any]) -> tuple[list[Comparison], list[str]]:
    """Two results of one cell: every metric that both have, and in words what only one of them has."""
    comparisons, problems = [], []
    before, after = _by_method(old), _by_method(new)
    for method in dict.fromkeys([*before, *after]):
        place = " ".join(filter(None, (name, *method)))
        ok = [[row["metrics"] for row in rows.get(method, []) if row["status"] == "ok"] for rows in (before, after)]
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


def _by_method(result: dict[str, Any]) -> dict[tuple[str, str | None], list[dict[str, Any]]]:
    rows: dict[tuple[str, str | None], list[dict[str, Any]]] = {}
    for row in result["rows"]:
        rows.setdefault((row["method"], row["budget"]), []).append(row)
    return rows


def _verdicts(old: bytes | None, new: bytes | None) -> str:
    if not old or not new:
        return "Verdicts: there are none to compare"
    before, after = ({claim["id"]: claim["verdict"] for claim in json.loads(text)} for text in (old, new))
    apart = [f"{name} ({before.get(name)} → {after[name]})" for name in after if after[name] != before.get(name)]
    return f"Verdicts: {len(after) - len(apart)} of {len(after)} agree" + (f", not {', '.join(apart)}" if apart else "")


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
    stems = [PurePosixPath(name).stem for name in names]
    more = f", … and {len(stems) - 3} more" if len(stems) > 3 else ""
    return [f"  {len(names)} {what}: {', '.join(stems[:3])}{more}"] if names else []


def _shortened(lines: list[str]) -> list[str]:
    return lines[:SHOWN] + ([f"  … and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else [])


def _git(*words: str) -> bytes:
    """The output of a git command in the project. Raises ValueError if git is not installed, or fails."""
    try:
        done = subprocess.run(["git", *words], cwd=paths.ROOT, capture_output=True)
    except FileNotFoundError:
        raise ValueError("git was not found; install it and try again") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().removeprefix("fatal: ")
        raise ValueError(f"`git {' '.join(words)}` failed: {said}")
    return done.stdout


def _commit(revision: str) -> str:
    """The short id of a commit."""
    try:
        _git("rev-parse", "--git-dir")
    except ValueError as error:
        if "git was not found" in str(error):
            raise
        raise ValueError("this folder is no git repository, which has committed results: use `git clone`") from None
    try:
        return _git("rev-parse", "--short", "--verify", "--quiet", f"{revision}^{{commit}}").decode().strip()
    except ValueError:
        hint = "nothing is committed yet" if revision == "HEAD" else "`git log` lists them"
        raise ValueError(f"{revision} is no commit of this repository: {hint}") from None


def _committed(folder: str, revision: str) -> dict[str, bytes]:
    """The files below `folder` as they are at `revision`, by path from the project."""
    names = _git("ls-tree", "-r", "-z", "--name-only", revision, "--", folder).decode().split("\0")
    return {name: _git("show", f"{revision}:./{name}") for name in names if name.endswith(".json")}
