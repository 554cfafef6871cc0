"""Ways to find masks, a file for each kind, looked up by the names in `methods.py`.

A finder takes a run and a sparsity (or a ratio of channels) and returns a `Candidate`. Settings that only one finder
uses are arguments or constants in its file.
"""

from importlib import import_module


def finder(name: str, published: bool = False):
    """The finder called FILE.FUNCTION; with `published`, its variant with as many steps as the paper gives, or None."""
    file, function = name.split(".")
    return getattr(import_module(f"{__name__}.{file}"), f"{function}_published" if published else function, None)
