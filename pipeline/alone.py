"""Refuses to start where DVC, or a runner, is at work: asked before any set-up, so standard library alone."""

import argparse
import fcntl
import sys
from pathlib import Path

BUSY = "another `vpstudy repro` or `dvc` command is at work here: wait for it, or stop it"


def check(root: Path) -> None:
    """Raise ValueError where the folder `root` cannot be written to or something is at work in it."""
    place = root / ".dvc" / "tmp" / "lock"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ValueError(BUSY) from None
    except OSError as error:
        raise ValueError(
            f"{root} cannot be written to ({error.strerror}), and results are kept there: use a clone of your own"
        ) from None


if __name__ == "__main__":
    argparse.ArgumentParser("python -m pipeline.alone", description=__doc__).parse_args()
    try:
        check(Path.cwd())
    except ValueError as error:
        sys.exit(str(error))
