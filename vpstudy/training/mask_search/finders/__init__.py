"""Finders of masks, looked up by the names in `methods.py`.

A finder takes a run and a sparsity (or a ratio of channels) and returns a `Candidate`. Settings of a single finder are
arguments or constants in its file.
"""

from importlib import import_module

# depends on vpstudy/training/mask_search/finders, called by name


def finder(name: str):
    """The finder FILE.FUNCTION."""
    file, function = name.split(".")
    return getattr(import_module(f"{__name__}.{file}"), function)
