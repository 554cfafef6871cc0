"""Weights from outside fitted to a model by name: strictly, but in the spellings of libraries and wrappers."""

import re
import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

PREFIXES = ("module.", "_orig_mod.", "state_dict.", "model.")  # of DataParallel, torch.compile and dictionaries
NESTED = ("state_dict", "model", "model_state_dict")  # where training scripts put the tensors
SPELLINGS = (
    (r"(denselayer\d+\.(?:norm|conv))\.(\d)\.", r"\1\2."),  # DenseNets of torch 0.3
    (r"self_attention\.in_proj_", "self_attention.qkv."),  # made of layers in torchvision_models
    (r"self_attention\.out_proj\.", "self_attention.proj."),
)
TRAINING_ONLY = r"(aux1|aux2|AuxLogits)\."  # heads of torchvision's Inception networks
# EfficientNets of the package efficientnet_pytorch, in timm's names: outside blocks, and inside.
TOP = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}  # not expanding


def load(model: nn.Module, path: Path, name: str) -> None:
    """Load a safetensors file strictly into `model`, which messages call `name`.

    A wrapper's prefix is removed, with a warning. Old names are read as the libraries read them. Raises one ValueError
    if the file is damaged, if names, shapes or types do not fit, or if a value is not finite.
    """
    try:
        given = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path.name} is no complete safetensors file: {error}") from None
    wanted = model.state_dict()
    given = _renamed(_without_prefix(given, wanted, path.name), wanted)
    both = {n: (given[n], wanted[n]) for n in wanted.keys() & given.keys()}
    shapes = {n: f"{n} is {list(a.shape)}, not {list(b.shape)}" for n, (a, b) in both.items() if a.shape != b.shape}
    infinite = {n for n, tensor in given.items() if not tensor.float().isfinite().all()}
    integers = {f"{n} is {a.dtype}" for n, (a, b) in both.items() if b.is_floating_point() > a.is_floating_point()}
    # not strict: runs the modules' own hooks for old files, and tells what is left
    try:
        found = model.load_state_dict({n: t for n, t in given.items() if n not in shapes}, strict=False)
    except RuntimeError as error:
        raise ValueError(f"{path.name} does not fit the backbone {name}: {error}") from None
    missing = set(found.missing_keys) - shapes.keys()
    problems = [
        *_some("missing", missing),
        *_some("not in the backbone", set(found.unexpected_keys)),
        *_some("of another shape", set(shapes.values())),
        *_some("integers without a scale", integers),
        *_some("with NaN or infinite values", infinite),
    ]
    if problems:
        fits = Counter(n.removesuffix(m) for m in missing for n in found.unexpected_keys if n.endswith(f".{m}"))
        prefixes = " or ".join(repr(prefix) for prefix in sorted(fits) if fits[prefix] == max(fits.values()))
        hint = f"; store them without {prefixes} before each name" if prefixes else ""
        raise ValueError(f"{path.name} does not fit the backbone {name}: {'; '.join(problems)}{hint}")


def unnested(content: Any, file: str) -> dict[str, Tensor]:
    """Copies of the tensors in what `torch.load` returns of `file`. Raises ValueError if it cannot tell where."""
    while not (isinstance(content, Mapping) and any(isinstance(value, Tensor) for value in content.values())):
        keys = list(content) if isinstance(content, Mapping) else []
        inner = [key for key in NESTED if key in keys and isinstance(content[key], Mapping)]
        if len(inner) != 1:
            held = ", ".join(map(str, keys)) or f"a {type(content).__name__} without names"
            raise ValueError(f"{file} holds {held}; allowed: tensors by name, or one of {', '.join(NESTED)}")
        content = content[inner[0]]
    return {  # copies, since several may share their memory, as averages of weights do
        str(key): value.clone(memory_format=torch.contiguous_format)
        for key, value in content.items()
        if isinstance(value, Tensor)
    }


def _without_prefix(given: dict[str, Tensor], wanted: Mapping[str, Tensor], file: str) -> dict[str, Tensor]:
    removed = ""
    while not given.keys() & wanted.keys():
        prefix = next((p for p in PREFIXES if given and all(n.startswith(p) for n in given)), None)
        if prefix is None:
            break
        given, removed = {n.removeprefix(prefix): tensor for n, tensor in given.items()}, removed + prefix
    if removed:
        warnings.warn(f"{file}: its names are read without {removed!r}", stacklevel=2)
    return given


def _renamed(given: dict[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`given` under the names of `wanted`, where these have another spelling, and without heads for training."""
    places = sorted({(int(m[1]), int(m[2])) for n in wanted if (m := re.match(r"blocks\.(\d+)\.(\d+)\.", n))})
    expanding = {n.split(".")[1] for n in given if "._expand_conv." in n}

    def renamed(name: str) -> str:
        if (block := re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)) and int(block[1]) < len(places):
            stage, index = places[int(block[1])]
            layers = BLOCK if block[1] in expanding else FIRST_BLOCK
            new = f"blocks.{stage}.{index}.{layers.get(block[2])}.{block[3]}"
        else:
            first, dot, rest = name.partition(".")
            new = TOP.get(first, first) + dot + rest
        for pattern, replacement in SPELLINGS:
            new = re.sub(pattern, replacement, new)
        return new if new in wanted and new not in given else name

    names = {name: name if name in wanted else renamed(name) for name in given}
    return {new: given[n] for n, new in names.items() if new in wanted or not re.match(TRAINING_ONLY, new)}


def _some(words: str, names: set[str]) -> list[str]:
    if not names:
        return []
    shown = sorted(names)[:5]
    return [f"{len(names)} {words} ({', '.join(shown)}{', …' if len(names) > len(shown) else ''})"]
