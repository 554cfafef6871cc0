"""What prompts of the qprompt study would fail on while they are learned."""

import gzip
import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

PIECE = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[a-z]+|[0-9]|[^\sa-z0-9]+")  # as CLIP's tokenizer cuts what is ASCII
MERGES = slice(1, 49152 - 256 - 2 + 1)  # lines of its vocabulary that it uses


def problems(p: Any) -> Iterator[str]:
    """Words of another length than the context, heads that do not divide a width, and more evaluations than epochs."""
    for key, section in (("qprompt", p.qprompt), ("multimodal", p.multimodal)):
        if section.axes.backbones:
            yield from _words(f"{key}.settings", section.settings.words, section.settings.n_context)
            yield from _evaluations(f"{key}.settings", section.settings, "epochs")
    if p.qprompt.axes.backbones and "cocoop" in p.qprompt.axes.prompters:
        yield from _evaluations("qprompt.settings", p.qprompt.settings, "cocoop_epochs")
    width, heads = p.clip_source.width, p.clip_source.heads
    if width % heads:
        yield f"clip_source.heads: {heads}: must divide clip_source.width ({width})"


def _evaluations(key: str, settings: Any, epochs: str) -> Iterator[str]:
    times, length = settings.evaluations, getattr(settings, epochs)
    if times > length:
        yield f"{key}.evaluations: {times}: epochs are evaluated at most once; at most {key}.{epochs} ({length})"


def _words(key: str, words: str | None, n_context: int) -> Iterator[str]:
    if words is None or not words.isascii():
        return  # told when the words are cut
    pieces = PIECE.findall(words.lower())
    whole = all(piece in _vocabulary() for piece in pieces)
    if (whole and len(pieces) != n_context) or (not whole and len(pieces) >= n_context):
        long = len(pieces) if whole else f"more than {len(pieces)}"
        yield (
            f"{key}.words: {words!r}: {long} tokens for {n_context} vectors ({key}.n_context); give as many, "
            "or leave it empty: drawn at random"
        )


@cache
def _vocabulary() -> frozenset[str]:
    """Words that are one token of CLIP's, from the file of open_clip: to import that takes seconds, to read it none."""
    folder = Path(importlib.util.find_spec("open_clip").submodule_search_locations[0])
    with gzip.open(folder / "bpe_simple_vocab_16e6.txt.gz", "rt", encoding="utf-8") as file:
        merged = [line.replace(" ", "") for line in file.read().split("\n")[MERGES]]
    single = {chr(code) for code in range(33, 127)}  # each is one by itself
    return frozenset(single | {word.removesuffix("</w>") for word in merged if word.endswith("</w>")})
