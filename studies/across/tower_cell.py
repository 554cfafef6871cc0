"""The cell of text prompts on a compressed tower: one model, compression and target, all arms inside."""

from collections.abc import Iterator

import torch
from torch import Tensor

from studies.across.settings import of_text
from studies.backbones.access import source_access
from studies.cells import Cell
from studies.parameters import Parameters
from studies.qprompt.prompt_cell import PromptCell
from vpstudy.compression.compressed import Compressed
from vpstudy.compression.family import Compression
from vpstudy.compression.registry import parse
from vpstudy.compression.source_access import SourceAccess
from vpstudy.compression.text_towers import TextAccess
from vpstudy.data.class_names import words
from vpstudy.models import sentence_tower
from vpstudy.models.weights import is_locked
from vpstudy.prompts.text import described
from vpstudy.runtime import generator
from vpstudy.training.prompt_learning import locked_tuning, tasks
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
    """Learns prompts for a two-tower model one tower of which is compressed, by default the locked network `backbone`.

    `text-` before the compression compresses the text tower. The rest stays as it was made for the dense towers. The
    compression is made here: no other cell needs it. Raises ValueError for a backbone that is no locked image tower and
    for an unknown compression.
    """

    def __init__(self, parameters: Parameters, backbone: str, compression: str, target: str, checkpoint: int = 0):
        p = parameters
        if not is_locked(p.weights, backbone):
            raise ValueError(
                f"{backbone!r} is no locked image tower: give a classifier of weights that stands in clips"
            )
        super().__init__(p, backbone, target, "qcoop", checkpoint)
        axes = {"backbone": backbone, "compression": compression, "target": target}
        self.cell = Cell.of("prompt_on_compressed", "across", p.scale, **axes)
        self.settings = self.settings.model_copy(update={"bits": p.compressed_towers.settings.bits})
        self.prompter = Prompter("hand-written words, CoOp and QCoOp", arms)
        self.making = {"source": p.source, "compressing": p.compressing, "recovery": p.recovery}
        make, inner = (self._text if of_text(compression) else self._image), of_text(compression) or compression
        self.compressed, before, after = make(parse(inner), source_access(p, backbone, inner, checkpoint))
        self.facts = {name: fact for name, fact in self.compressed.facts().items() if name != "layers"}
        self.similarity = (before * after).sum(1).mean().item()  # cosine, over all pictures or all classes

    def _image(self, compression: Compression, access: SourceAccess) -> tuple[Compressed, Tensor, Tensor]:
        """Compress the image tower; features (N, E) of all pictures before and after."""
        made = compression.make(access)
        # Dense goes the same way as the others, so that nothing but the weights differs.
        seen = locked_tuning.features(made.backbone, self.data.pictures, self.runtime)
        dense, self.features = self.features, locked_tuning.embedded(self.clip, seen)
        return made, dense, self.features

    @torch.no_grad()
    def _text(self, compression: Compression, access: SourceAccess) -> tuple[Compressed, Tensor, Tensor]:
        """Compress the text tower, from names of classes that are not the target's; features (K, E) of its, twice."""
        names = tasks.class_names(self.data)
        others = [name for name in words(access.dense().class_names) if name not in names]
        texts = [template.format(name) for template in locked_tuning.TEMPLATES for name in others]
        tokens = sentence_tower.tokenize(self.tower, texts)
        tokens = tokens[:, : int(sentence_tower.ends(self.tower, tokens).max()) + 1]
        order = torch.randperm(len(tokens), generator=generator("texts", access.source.seed))
        dense = described(self.tower, names, locked_tuning.TEMPLATES)
        made = compression.make(TextAccess(self.clip.text, tokens[order], access.settings))
        self.clip.text = made.backbone.model.text
        self.tower = sentence_tower.of(self.clip, self.runtime)
        return made, dense, described(self.tower, names, locked_tuning.TEMPLATES)

    def result(self, arms: list[Arm]) -> dict:
        content = super().result(arms)
        content["cell"]["settings"] |= {name: of.model_dump(mode="json") for name, of in self.making.items()}
        content["facts"] |= {"compressed": self.facts}
        return content

    def _row(self, arm: Arm, group: str) -> dict:
        more = {"prompter": OF_ARMS.get(arm.name, self.name), "similarity": self.similarity}
        return super()._row(arm, group) | more
