"""What git holds of the results, and how the files on disk differ from it."""

import subprocess
from pathlib import Path

from vpstudy import paths

PRODUCED = tuple(  # by the pipeline, and kept in git
    place.relative_to(paths.ROOT).as_posix()
    for place in (paths.RESULTS, paths.SPLITS, paths.FIGURES, paths.RENDERED, paths.ROOT / "dvc.lock")
)

SHOWN = 20  # files that are listed; the rest is counted


def git(*words: str) -> bytes:
    """The output of a git command in the project.

    Raises
    ------
    ValueError
        If git is not installed, or fails: with what it said.
    """
    try:
        done = subprocess.run(["git", *words], cwd=paths.ROOT, capture_output=True)
    except FileNotFoundError:
        raise ValueError("git was not found; install it and try again") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().removeprefix("fatal: ")
        raise ValueError(f"`git {' '.join(words)}` failed: {said}")
    return done.stdout


def commit(revision: str) -> str:
    """The short id of a commit.

    Raises
    ------
    ValueError
        If the project is no git repository, has no commit, or does not know this one.
    """
    try:
        git("rev-parse", "--git-dir")
    except ValueError as error:
        if "not found" in str(error):
            raise
        raise ValueError(
            "this folder is no git repository, so there are no committed results to compare with; "
            "get the project with `git clone`"
        ) from None
    try:
        return git("rev-parse", "--short", "--verify", "--quiet", f"{revision}^{{commit}}").decode().strip()
    except ValueError:
        hint = "nothing is committed yet" if revision == "HEAD" else "`git log` lists them"
        raise ValueError(f"{revision} is no commit of this repository: {hint}") from None


def files(folder: Path, revision: str) -> dict[str, bytes]:
    """The files below `folder` as they are at `revision`: paths relative to the project, and contents."""
    below = folder.relative_to(paths.ROOT).as_posix()
    names = git("ls-tree", "-r", "-z", "--name-only", revision, "--", below).decode().split("\0")
    return {name: git("show", f"{revision}:./{name}") for name in filter(None, names)}


def changes() -> dict[str, str]:
    """Files that the pipeline makes and that differ from HEAD, each with its two letters of `git status`."""
    lines = git("status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--", *PRODUCED)
    prefix = git("rev-parse", "--show-prefix").decode().strip()  # git names files from the repository's top
    entries = [entry for entry in lines.decode().split("\0") if entry]
    return {entry[3:].removeprefix(prefix): entry[:2] for entry in entries}


def folders(names: list[str]) -> list[str]:
    """The parts of `PRODUCED` that hold these files: short enough to be typed in a command."""
    return [place for place in PRODUCED if any(name == place or name.startswith(f"{place}/") for name in names)]


def unsaved() -> list[str]:
    """Which files of the pipeline differ from HEAD, and how to keep them or go back; [] if none do."""
    found = changes()
    if not found:
        return []
    new = [name for name, code in found.items() if code[0] in "?A"]
    tracked = [name for name in found if name not in new]
    names = [*(f"changed  {name}" for name in tracked), *(f"new      {name}" for name in new)]
    changed, added = folders(tracked), folders(new)
    every = " ".join(dict.fromkeys([*changed, *added]))
    back = [f"git checkout HEAD -- {' '.join(changed)}"] if changed else []
    back += [f"git reset -q -- {' '.join(added)}"] if "A" in {code[0] for code in found.values()} else []
    back += [f"git clean -fd -- {' '.join(added)}"] if added else []
    return [
        f"Files of the pipeline that are not committed as they are now ({len(names)}):",
        *(f"  {name}" for name in names[:SHOWN]),
        *([f"  … and {len(names) - SHOWN} more"] if len(names) > SHOWN else []),
        f'To keep them:  git add {every} && git commit -m "Results of a re-run"',
        f"To go back:    {' && '.join(back)}",
    ]
