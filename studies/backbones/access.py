"""Access to the source that compressions of a backbone need."""

from studies.backbones import inputs
from studies.parameters import Parameters
from vpstudy.compression.registry import parse
from vpstudy.compression.source_access import NoSourceAccess, SourceAccess
from vpstudy.data.target import load
from vpstudy.runtime import configure


def source_access(parameters: Parameters, backbone: str, compression: str, checkpoint: int) -> SourceAccess:
    """What `compression` is made from: the source of a backbone pretrained here, else pictures of another set.

    Raises ValueError for a compression that these parameters do not make, FileNotFoundError, which names the stage to
    run, for a missing checkpoint.
    """
    p, parsed = parameters, parse(compression)
    if problem := parsed.problem(p.imp.rounds, p.checkpoints):
        raise ValueError(f"{compression} {problem}")
    folder = inputs.path(parameters, backbone, f"source/{checkpoint}.safetensors").parents[1]
    for name in parsed.needs(checkpoint):
        inputs.path(parameters, backbone, name)
    access = SourceAccess(folder, checkpoint, p.source, p.compressing, configure(p.execution), p.checkpoints)
    if backbone not in p.weights:
        return access
    other, held_out = (load(each, p.recovery.size, p.pictures) for each in (p.recovery.pictures, p.recovery.held_out))
    return NoSourceAccess(**vars(access), distillation=p.recovery, other=other, held_out=held_out)
