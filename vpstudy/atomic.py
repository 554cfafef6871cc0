"""Files that are either whole or not there, whenever the process that writes them dies."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to; on success it takes the place of `path` in one step.

    The temporary name is fixed, so that a second try cleans up after a first that was killed. Missing folders
    are made. On an exception `path` stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8 with the newlines it has, whole or not at all."""
    write_bytes(path, text.encode())


def json_text(value: Any) -> str:
    """`value` as JSON: indent 1, sorted keys, a newline at the end.

    Raises ValueError for NaN and infinities, which JSON does not have.
    """
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: Path, value: Any) -> None:
    """Write `json_text` of `value` to `path`, whole or not at all."""
    write_text(path, json_text(value))
