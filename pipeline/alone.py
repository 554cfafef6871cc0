"""Whether DVC, or a runner, is at work in this folder: asked before anything is set up, so standard library alone."""

import fcntl
import os
import sys
from pathlib import Path

BUSY = "another `vpstudy repro` or `dvc` command is at work here: wait for it, or stop it"


def check(root: Path, shared: bool = False) -> bool:
    """Whether nothing is at work in `root`.

    Raises ValueError where the folder cannot be written to or, but for what is `shared`, something is at work.
    """
    place = root / ".dvc" / "tmp" / "lock"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(place, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise ValueError(
            f"{root} cannot be written to ({error.strerror}), and results are kept there: use a clone of your own"
        ) from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if not shared:
            raise ValueError(BUSY) from None
        return False
    finally:
        os.close(file)
    return True


if __name__ == "__main__":
    try:
        check(Path.cwd())
    except ValueError as error:
        sys.exit(str(error))
