"""A re-run against the committed results: first which verdicts agree, then how many means, and what is missing.

Floating point differs between machines, so a re-run on another gives other bits, and from another source checkpoint
other means. What can be asked is whether it leads to the same verdicts.
"""

import json
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from statistics import fmean
from typing import Any

from pipeline.scales import flat
from studies.claims import ledger
from studies.claims.verdict import NOT_RUN
from studies.parameters import read
from vpstudy import atomic, paths

METRICS = ("accuracy", "ece_debiased")
TOLERANCE = 0.02  # means over checkpoints and seeds that differ by no more agree
SHOWN = 5  # of the largest differences
PRODUCED = (  # in git
    "data/models", "data/results", "data/splits", "figures", "notebooks/rendered", "dvc.lock", "scales/*/dvc.lock"
)  # fmt: skip


@dataclass(frozen=True)
class Report:
    """What a comparison found, and whether every committed result is there and agrees."""

    lines: list[str]
    agrees: bool
    # Of each study with claims whose results are here in other bytes: how many files and means, and the verdicts.
    again: dict[str, dict[str, Any]]


def report(revision: str = "HEAD") -> Report:
    """Compare the results of the scale in `params.yaml` with those committed at `revision`.

    Raises ValueError if there is nothing to compare with: no repository, no such commit, no results of this scale.
    """
    scale = str(read(paths.PARAMS).get("scale"))
    there = _committed(f"data/results/{scale}", revision)
    here = {f.relative_to(paths.ROOT).as_posix(): f.read_bytes() for f in (paths.RESULTS / scale).rglob("*.json")}
    verdicts = [json.loads(files.pop(f"data/results/{scale}/claims.json", b"[]")) for files in (there, here)]
    if not there:
        raise ValueError(f"{revision} holds no results of scale {scale} to compare with")
    pairs = {n: (json.loads(there[n]), json.loads(here[n])) for n in there.keys() & here.keys() if there[n] != here[n]}
    other = {n: keys for n, pair in pairs.items() if (keys := _other_settings(*pair))}
    of_files = {n: list(_means(PurePosixPath(n).stem, *pairs[n])) for n in sorted(pairs.keys() - other)}
    means = [mean for of in of_files.values() for mean in of]
    apart = sorted((mean for mean in means if _differ(mean)), key=lambda m: -abs(m[2] - m[1]))
    missing = sorted(there.keys() - here.keys())
    lines = [
        _verdicts(*verdicts),
        f"{len(there) - len(missing) - len(pairs)} of {len(there)} result files are the same bytes as in {revision}",
        *([f"{len(means) - len(apart)} of {len(means)} means in the others agree within {TOLERANCE}"] if means else []),
        *(["Farthest apart (committed → here):"] if apart else []),
        *(f"  {place}: {old:.3f} → {new:.3f}" for place, old, new in apart[:SHOWN]),
        *_named("missing here", missing),
        *_named("only here", sorted(here.keys() - there.keys())),
        *_named(f"ran with other settings ({', '.join(sorted(set().union(*other.values())))})", sorted(other)),
        *sorted({line for pair in pairs.values() for line in _environments(*pair)}),
    ]
    again = {study: _again(study, verdicts[1], there, of_files) for study in {claim["study"] for claim in verdicts[1]}}
    return Report(lines, not (missing or other or apart), {study: of for study, of in again.items() if of["changed"]})


def _again(study: str, claims: list[dict], there: Iterable[str], of_files: dict[str, list]) -> dict[str, Any]:
    """What a second run of a study comes to: of its own folder of results."""
    own = {name: of for name, of in of_files.items() if PurePosixPath(name).parent.name == study}
    means = [mean for of in own.values() for mean in of]
    counts = {"changed": len(own), "files": sum(PurePosixPath(name).parent.name == study for name in there)}
    counts |= {"agreeing": len(means) - sum(map(_differ, means)), "means": len(means)}
    ran = [claim for claim in claims if claim["study"] == study and claim["verdict"] != NOT_RUN]
    return counts | {"verdicts": {claim["id"]: claim["verdict"] for claim in ran}}


def save(found: Report, how: str) -> None:
    """Keep the verdicts of this run beside the committed ledger, for 99_claims; `how` says what was done otherwise.

    Of studies whose results are the committed ones, what was kept before stays: they were not run again. Raises
    ValueError if nothing was run otherwise, or there are no verdicts.
    """
    if not any(of["verdicts"] for of in found.again.values()):
        raise ValueError("nothing to save: no study with verdicts has other results than the committed ones")
    scale = read(paths.PARAMS)["scale"]
    anew = {study: {"how": how, "tolerance": TOLERANCE, **of} for study, of in found.again.items() if of["verdicts"]}
    atomic.write_json(paths.AGAIN / f"{scale}.json", ledger.again(scale) | anew)


def after_a_run() -> list[str]:
    """What `repro` ends with: the comparison, where there is anything to compare with, and what is not committed."""
    try:
        return ["", *report().lines, *unsaved()]
    except ValueError as error:
        return ["", f"not compared: {error}"]


def unsaved() -> list[str]:
    """How many files of the pipeline differ from HEAD, and what to do about them; [] if none do."""
    changed = _git("status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--", *PRODUCED)
    number = changed.count(b"\0")
    advice = "`git status` names them; commit them to keep them, or go back with `git stash --include-untracked`"
    return [f"{number} files of the pipeline differ from the committed ones: {advice}"] if number else []


def _means(name: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[tuple[str, float, float]]:
    """Name and both means of every metric over checkpoints and seeds; the number of runs where that differs."""
    runs: dict[tuple, tuple[list, list]] = {}
    for side, result in enumerate((old, new)):
        for row in (row for part in result.get("checkpoints", ()) for row in part["rows"]):
            both = runs.setdefault((row["method"], row["budget"]), ([], []))
            both[side].extend([row["metrics"]] if row["status"] == "ok" else [])
    for place, (before, after) in runs.items():
        words = " ".join(filter(None, (name, *place)))
        if len(before) != len(after):
            yield f"{words}, runs with a result", len(before), len(after)
        elif before:
            for metric in (each for each in METRICS if each in before[0]):
                yield f"{words} {metric}", *(fmean(metrics[metric] for metrics in side) for side in (before, after))


def _differ(mean: tuple[str, float, float]) -> bool:
    return abs(mean[2] - mean[1]) > TOLERANCE


def _verdicts(old: list[dict], new: list[dict]) -> str:
    if not old or not new:
        return "no verdicts to compare"
    before, after = ({claim["id"]: claim["verdict"] for claim in claims} for claims in (old, new))
    apart = [
        f"{name}: {after.get(name, 'no claim')} here, {before.get(name, 'no claim')} committed"
        for name in before | after
        if after.get(name) != before.get(name)
    ]
    return "; ".join([f"{len(before | after) - len(apart)} of {len(before | after)} verdicts agree", *apart])


def _environments(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    for key, value in new["environment"].items():
        if old["environment"].get(key) != value:
            yield f"{key}: {old['environment'].get(key)} as committed, {value} here"


def _other_settings(old: dict[str, Any], new: dict[str, Any]) -> set[str]:
    before, after = flat(old["cell"]["settings"]), flat(new["cell"]["settings"])
    return {key for key in before | after if before.get(key) != after.get(key)}


def _named(what: str, names: list[str]) -> list[str]:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return [f"{len(names)} {what}: {', '.join(PurePosixPath(name).stem for name in names[:3])}{more}"] if names else []


def _git(*words: str) -> bytes:
    """The output of a git command in the project. Raises ValueError where it fails."""
    done = subprocess.run(["git", *words], cwd=paths.ROOT, capture_output=True)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().removeprefix("fatal: ")
        raise ValueError(f"`git {' '.join(words)}` failed: {said}")
    return done.stdout


def _committed(folder: str, revision: str) -> dict[str, bytes]:
    """The JSON files below `folder` as they are at `revision`, by path from the project."""
    names = _git("ls-tree", "-r", "-z", "--name-only", revision, "--", folder).decode().split("\0")
    return {name: _git("show", f"{revision}:./{name}") for name in names if name.endswith(".json")}
