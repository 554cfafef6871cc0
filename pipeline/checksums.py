"""Checksums as DVC makes them, so that they compare with those in dvc.lock."""

import hashlib
import json
import os
from pathlib import Path


def checksum(path: Path, root: Path) -> str | None:
    """MD5 of a file's bytes, or of a folder's files by path (ending in `.dir`); None where nothing is."""
    if path.is_file():
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "md5").hexdigest()
    if not path.is_dir():
        return None
    ignored = _ignored(root)
    files = [Path(folder, name) for folder, _, names in os.walk(path) for name in names]
    entries = [
        {"md5": checksum(file, root), "relpath": file.relative_to(path).as_posix()}
        for file in files
        if not ignored(file)
    ]
    entries.sort(key=lambda entry: entry["relpath"])
    return hashlib.md5(json.dumps(entries, sort_keys=True).encode()).hexdigest() + ".dir"


def _ignored(root: Path):
    """Whether `.dvcignore` keeps a file out of folders."""
    rules = root / ".dvcignore"
    if not rules.exists():
        return lambda file: False
    from pathspec import GitIgnoreSpec

    spec = GitIgnoreSpec.from_lines(rules.read_text().splitlines())
    return lambda file: spec.match_file(file.relative_to(root).as_posix())
