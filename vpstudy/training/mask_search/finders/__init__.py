"""Finders of masks, looked up by the names in `methods.py`.

A finder takes a run and a sparsity (or a ratio of channels) and returns a `Candidate`. Settings of a single finder are
arguments or constants in its file.
"""

from importlib import import_module

# depends on vpstudy/training/mask_search/finders, called by name


def finder(name: str, published: bool = False):
    """The finder FILE.FUNCTION; with `published`, its variant with the number of steps in the paper, or None."""
    file, function = name.split(".")
    return getattr(import_module(f"{__name__}.{file}"), f"{function}_published" if published else function, None)
