"""Compressed backbones for the cells that adapt them."""

from studies.parameters import Parameters
from vpstudy import paths
from vpstudy.compression import compressed
from vpstudy.compression.compressed import Compressed
from vpstudy.compression.registry import parse


def obtain(parameters: Parameters, backbone: str, compression: str, checkpoint: int) -> Compressed:
    """The stored compression of a source checkpoint, or one made on the spot without writing it.

    Raises ValueError for an unknown compression, FileNotFoundError, which names the stage to run, for a missing input.
    """
    path = paths.MODELS / parameters.scale / backbone / compression / f"{checkpoint}.safetensors"
    if path.exists():
        return compressed.load(path, compression)
    from studies.backbones.access import source_access  # no dependency: of cells whose compression is stored

    return parse(compression).make(source_access(parameters, backbone, compression, checkpoint))
