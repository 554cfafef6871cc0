"""Access to the source that compressions of a backbone need."""

from studies.parameters import Parameters
from vpstudy import paths
from vpstudy.compression.source_access import NoSourceAccess, SourceAccess
from vpstudy.data.target import load
from vpstudy.runtime import configure


def source_access(parameters: Parameters, backbone: str) -> SourceAccess:
    """Access to the source of a backbone pretrained here, else to pictures of another set."""
    p, folder = parameters, paths.MODELS / parameters.scale / backbone
    access = SourceAccess(folder, p.source, p.compressing, configure(p.execution), p.checkpoints.root)
    if backbone not in p.weights.root:
        return access
    other = load(p.recovery.pictures, p.recovery.size, p.pictures)
    return NoSourceAccess(**vars(access), distillation=p.recovery, other=other)
