"""Compressed backbones for the cells that adapt them."""

from studies.parameters import Parameters
from vpstudy import paths
from vpstudy.compression import compressed
from vpstudy.compression.compressed import Compressed
from vpstudy.compression.registry import parse


def obtain(parameters: Parameters, backbone: str, compression: str) -> Compressed:
    """The stored compression of a backbone, or one made on the spot where the grid has none (nothing is written).

    Raises
    ------
    ValueError
        If the name is no compression.
    FileNotFoundError
        If what it is made from is not there either; the message says which stage makes it.
    """
    path = paths.MODELS / parameters.scale / backbone / f"{compression}.safetensors"
    if path.exists():
        return compressed.load(path, compression)
    from studies.backbones.access import source_access  # not above: how others are made re-runs no cell of a stored one

    return parse(compression).make(source_access(parameters, backbone))
