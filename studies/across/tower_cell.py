"""The cell of text prompts on a compressed image tower: one network, compression and target, all arms inside."""

from collections.abc import Iterator

from studies.backbones.access import source_access
from studies.cells import Cell
from studies.parameters import Parameters
from studies.qprompt import source_models
from studies.qprompt.prompt_cell import PromptCell
from vpstudy.compression.registry import parse
from vpstudy.training.prompt_learning import locked_tuning
from vpstudy.training.prompt_learning.prompters.base import Arm, Prompter
from vpstudy.training.prompt_learning.registry import PROMPTERS
from vpstudy.training.prompt_learning.trial import Trial

# depends on vpstudy/compression/families, called by name

OF_ARMS = {"one": "zero_shot", "full": "coop"}  # prompters; every other arm is QCoOp's


def arms(trial: Trial) -> Iterator[Arm]:
    """The hand-written words, CoOp, and QCoOp at each number of bits; all from the same pictures, start and order."""
    yield trial.untrained("one")
    yield trial.trained("full")
    yield from PROMPTERS["qcoop"].arms(trial)


class TowerCell(PromptCell):
    """Learns prompts for a two-tower model whose image tower is `compression` of the locked network `backbone`.

    The text tower and the map behind the network are those tuned to the dense network. The compression is made here: no
    other cell needs it. Raises ValueError for a backbone that is no locked image tower and for an unknown compression.
    """

    def __init__(self, parameters: Parameters, backbone: str, compression: str, target: str, checkpoint: int = 0):
        p = parameters
        if not source_models.is_locked(p, backbone):
            raise ValueError(
                f"{backbone!r} is no locked image tower: give a classifier of weights that stands in clips"
            )
        super().__init__(p, backbone, target, "qcoop", checkpoint)
        axes = {"backbone": backbone, "compression": compression, "target": target}
        self.cell = Cell.of("prompt_on_compressed", "across", p.scale, **axes)
        self.settings = self.settings.model_copy(update={"bits": p.compressed_towers.settings.bits})
        self.prompter = Prompter("hand-written words, CoOp and QCoOp", arms)
        self.making = {"source": p.source, "compressing": p.compressing, "recovery": p.recovery}
        self.compressed = parse(compression).make(source_access(p, backbone, compression, checkpoint))
        self.facts = {name: fact for name, fact in self.compressed.facts().items() if name != "layers"}
        # Dense goes the same way as the others, so that nothing but the weights differs.
        seen = locked_tuning.features(self.compressed.backbone, self.data.pictures, self.runtime)
        dense, self.features = self.features, locked_tuning.embedded(self.clip, seen)
        self.similarity = (dense * self.features).sum(1).mean().item()  # cosine, over all pictures

    def result(self, arms: list[Arm]) -> dict:
        content = super().result(arms)
        content["cell"]["settings"] |= {name: of.model_dump(mode="json") for name, of in self.making.items()}
        content["facts"] |= {"compressed": self.facts}
        return content

    def _row(self, arm: Arm, group: str) -> dict:
        more = {"prompter": OF_ARMS.get(arm.name, self.name), "similarity": self.similarity}
        return super()._row(arm, group) | more
