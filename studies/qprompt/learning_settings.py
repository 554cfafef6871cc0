"""What prompts of the qprompt study would fail on while they are learned, from raw content."""

import gzip
import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

PIECE = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[a-z]+|[0-9]|[^\sa-z0-9]+")  # as CLIP's tokenizer cuts what is ASCII
MERGES = slice(1, 49152 - 256 - 2 + 1)  # lines of its vocabulary that it uses


def learning_problems(content: dict[str, Any]) -> Iterator[str]:
    """Words of another length than the context, heads that do not divide a width, and more evaluations than epochs."""
    sections = {
        key: content.get(key) if isinstance(content.get(key), dict) else {} for key in ("qprompt", "multimodal")
    }
    for key, section in sections.items():
        if section.get("backbones"):
            yield from _words(key, section.get("words"), section.get("n_context"))
            yield from _evaluations(key, section, "epochs")
    qprompt = sections["qprompt"]
    if qprompt.get("backbones") and "cocoop" in str(qprompt.get("prompters")):
        yield from _evaluations("qprompt", qprompt, "cocoop_epochs")
    clip = qprompt.get("clip") if isinstance(qprompt.get("clip"), dict) else {}
    width, heads = clip.get("width"), clip.get("heads")
    if _counts(width, heads) and width % heads:
        yield f"qprompt.clip.heads: {heads}: must divide qprompt.clip.width ({width})"


def _evaluations(key: str, section: dict[str, Any], epochs: str) -> Iterator[str]:
    times, length = section.get("evaluations"), section.get(epochs)
    if _counts(times, length) and times > length:
        yield f"{key}.evaluations: {times}: epochs are evaluated at most once; at most {key}.{epochs} ({length})"


def _words(key: str, words: Any, n_context: Any) -> Iterator[str]:
    if not isinstance(words, str) or not words.isascii() or not _counts(n_context):
        return  # told with its own key, or when the words are cut
    pieces = PIECE.findall(words.lower())
    whole = all(piece in _vocabulary() for piece in pieces)
    if (whole and len(pieces) != n_context) or (not whole and len(pieces) >= n_context):
        long = len(pieces) if whole else f"more than {len(pieces)}"
        yield (
            f"{key}.words: {words!r}: {long} tokens for {n_context} vectors ({key}.n_context); give as many, "
            "or leave it empty: drawn at random"
        )


def _counts(*values: Any) -> bool:
    return all(isinstance(value, int) and value >= 1 for value in values)


@cache
def _vocabulary() -> frozenset[str]:
    """Words that are one token of CLIP's, from the file of open_clip: to import that takes seconds, to read it none."""
    folder = Path(importlib.util.find_spec("open_clip").submodule_search_locations[0])
    with gzip.open(folder / "bpe_simple_vocab_16e6.txt.gz", "rt", encoding="utf-8") as file:
        merged = [line.replace(" ", "") for line in file.read().split("\n")[MERGES]]
    single = {chr(code) for code in range(33, 127)}  # each is one by itself
    return frozenset(single | {word.removesuffix("</w>") for word in merged if word.endswith("</w>")})
