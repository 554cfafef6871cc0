"""Compressed checkpoints from outside: fetched, checked, and measured instead of believed."""

import hashlib
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlparse

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from vpstudy.compression.masks import Mask
from vpstudy.models.backbones import Backbone

TRIES = 4
CHUNK = 1 << 20


def fetch(location: str, sha256: str | None, folder: Path, pause: float = 2.0) -> Path:
    """The file at `location`: a path, or an https URL, which is downloaded to `folder` once.

    A download that breaks off goes on where it stopped, up to four times, and in the next run.

    Raises
    ------
    ValueError
        If it is no safetensors file (others can hold code that runs when they are read), a URL has no checksum or is
        not https, or the checksum is another one; such a download is removed.
    FileNotFoundError
        If there is no such file, or it could not be downloaded; the message says what to do by hand.
    """
    url = urlparse(location)
    if not url.path.endswith(".safetensors"):
        raise ValueError(f"{location}: only .safetensors files are read; other formats can run code when they are read")
    if url.scheme not in ("http", "https"):
        path = Path(location).expanduser()
        if not path.exists():
            raise FileNotFoundError(f"{location}: there is no such file")
        return _checked(path, sha256)
    if url.scheme != "https" and url.hostname not in ("localhost", "127.0.0.1"):
        raise ValueError(f"{location}: give an https URL")
    if sha256 is None:
        raise ValueError(f"{location}: a URL needs its sha256 beside it, or nobody knows what was measured")
    path = folder / f"{sha256[:12]}-{Path(url.path).name}"
    if not path.exists():
        part = path.with_suffix(".part")
        part.parent.mkdir(parents=True, exist_ok=True)
        _download(location, part, pause)
        try:
            _checked(part, sha256)
        except ValueError:
            part.unlink()
            raise
        part.replace(path)
    return _checked(path, sha256)


def load_into(backbone: Backbone, path: Path) -> Mask:
    """Load a checkpoint into `backbone`; which weights it has left is measured: those that are not zero.

    Names may begin with "model." or not.

    Raises
    ------
    ValueError
        If the file is damaged, or names or shapes are not those of the backbone: one message with all of them.
    """
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path.name} is no complete safetensors file: {error}") from None
    given = {name.removeprefix("model."): tensor for name, tensor in tensors.items()}
    wanted = backbone.model.state_dict()
    shapes = {
        f"{name} is {list(given[name].shape)}, not {list(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in given and given[name].shape != tensor.shape
    }
    problems = [
        *_some("missing", wanted.keys() - given.keys()),
        *_some("not in the backbone", given.keys() - wanted.keys()),
        *_some("of another shape", shapes),
    ]
    if problems:
        raise ValueError(f"{path.name} does not fit the backbone {backbone.name}: {'; '.join(problems)}")
    with torch.no_grad():
        backbone.model.load_state_dict(given)
    return Mask({name: weight != 0 for name, weight in backbone.prunable.items()})


def _some(words: str, names: set[str]) -> list[str]:
    if not names:
        return []
    shown = sorted(names)[:5]
    return [f"{len(names)} {words} ({', '.join(shown)}{', …' if len(names) > len(shown) else ''})"]


def _checked(path: Path, sha256: str | None) -> Path:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 not in (None, found):
        raise ValueError(f"{path.name}: its SHA-256 is {found}, expected {sha256}")
    return path


def _download(url: str, part: Path, pause: float) -> None:
    problem: Exception | None = None
    for attempt in range(TRIES):
        try:
            have = part.stat().st_size if part.exists() else 0
            request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
            with urllib.request.urlopen(request, timeout=30) as answer:
                resumed = answer.status == 206
                expected = int(answer.headers.get("Content-Length") or 0) + (have if resumed else 0)
                with part.open("ab" if resumed else "wb") as file:
                    while chunk := answer.read(CHUNK):
                        file.write(chunk)
            if not expected or part.stat().st_size >= expected:
                return
            problem = ConnectionError(f"{part.stat().st_size} of {expected} bytes came")
        except urllib.error.HTTPError as error:
            if error.code == 416:  # nothing is left to send: the file is whole
                return
            problem = error
        except OSError as error:
            problem = error
        time.sleep(pause * attempt)
    raise FileNotFoundError(
        f"{url} could not be downloaded ({problem}); get it by hand and give its path as the location"
    )
