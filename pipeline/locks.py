"""One dvc.lock a scale: dvc.lock holds the one in use, scales/NAME/dvc.lock the last whole one of each.

Plain DVC writes dvc.lock in place, so a kill can cut it. An entry only says which outputs came of which inputs, and
DVC checks both: an older lock is always safe to put back.
"""

import re
from pathlib import Path

from vpstudy import atomic, paths

Outs = list[tuple[str, str]]  # stage and path of each recorded output, in the order of a lock file


def settle(scale: str) -> str:
    """Keep dvc.lock, then put the lock of `scale` in its place if it is cut off or another's.

    Returns what was repaired in words, "" for nothing. An unfinished merge is left to the reader.
    """
    lock, kept = _lock(), _kept(scale)
    text = lock.read_text(encoding="utf-8", errors="replace") if lock.exists() else ""
    if "<<<<<<< " in text:
        return ""
    keep()
    outs, before = _outs(lock), _outs(kept)
    cut = lock.exists() and (outs is None or _begins(outs, before))
    if before and (cut or not outs or _scale() != scale):
        atomic.write_bytes(lock, kept.read_bytes())
        return f"dvc.lock was cut off while DVC wrote it: restored with {len(dict(before))} stages" if cut else ""
    if cut or _scale() not in (None, scale):
        lock.unlink()
    return "dvc.lock was cut off and there is no copy of it: removed, all stages run again" if cut else ""


def keep() -> None:
    """Copy dvc.lock to the folder of the scale whose results it holds, unless it is cut off."""
    if (scale := _scale()) and (paths.SCALES / scale).is_dir():
        kept, outs = _kept(scale), _outs(_lock())
        same = kept.exists() and kept.read_bytes() == _lock().read_bytes()
        if outs and not same and not _begins(outs, _outs(kept)):
            atomic.write_bytes(kept, _lock().read_bytes())


def _lock() -> Path:
    return paths.ROOT / "dvc.lock"


def _kept(scale: str) -> Path:
    return paths.SCALES / scale / "dvc.lock"


def _scale() -> str | None:
    """The scale whose results dvc.lock holds, as its paths tell; None where it holds none."""
    text = _lock().read_text(encoding="utf-8", errors="replace") if _lock().exists() else ""
    found = re.search(r"data/(?:models|results)/([a-z][a-z0-9_]*)/", text)
    return found and found[1]


def _begins(outs: Outs, other: Outs | None) -> bool:
    """Whether `outs` are only the first of `other`: how a lock looks that was cut between two lines."""
    return len(outs) < len(other or ()) and outs == other[: len(outs)]


def _outs(lock: Path) -> Outs | None:
    """The outputs in a lock file; None where it is damaged, empty or missing."""
    import yaml  # here: DVC takes long to load
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA as SCHEMA
    from voluptuous import Invalid

    try:
        text = lock.read_text(encoding="utf-8")
        content = SCHEMA(yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, Invalid):
        return None
    stages = content.get("stages", {}) if text.endswith("\n") else {}
    return [
        (name, out["path"]) for name, stage in stages.items() for out in stage.get("outs", ()) if "md5" in out
    ] or None
