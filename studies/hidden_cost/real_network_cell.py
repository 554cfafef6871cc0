"""The cell of a real network: compressed without its source, and adapted by what needs one pass of each picture."""

from studies.backbones.compress import CompressCell
from studies.cells import Cell
from studies.hidden_cost import output
from studies.hidden_cost.cell import TransferCell
from studies.parameters import Parameters
from vpstudy.training.outcome import Outcome


class RealNetworkCell(TransferCell):
    """A network from elsewhere, compressed here, with a label mapping and a linear probe for `target`.

    Both need one forward pass of every picture, which they share. No prompt is learned: pictures fill the canvas as
    they are. Raises ValueError for a compression that these parameters do not make.
    """

    def __init__(self, parameters: Parameters, backbone: str, compression: str, target: str, checkpoint: int = 0):
        p = _at_its_size(parameters)
        upstream = CompressCell(p, backbone, compression, checkpoint)
        super().__init__(p, backbone, compression, target, checkpoint, upstream.compress())
        axes = {"backbone": backbone, "compression": compression, "target": target}
        self.cell = Cell.of("real_network", "hidden_cost", p.scale, **axes)
        self.facts, self.upstream = upstream.facts(self.compressed), upstream.measure(self.compressed)
        self.making = {"compressing": p.compressing, "recovery": p.recovery}

    def result(self, outcomes: list[Outcome]) -> dict:
        """What `90_hidden_cost` shows: agreement with dense, and every run."""
        content = output.result(self, outcomes)
        content["cell"]["settings"] |= {name: of.model_dump(mode="json") for name, of in self.making.items()}
        content["facts"] |= {"compressed": {name: of for name, of in self.facts.items() if name != "layers"}}
        return content | {"rows": [self.upstream, *content["rows"]]}


def _at_its_size(parameters: Parameters) -> Parameters:
    """The parameters with pictures of the size that the network sees, unprompted."""
    of, s = parameters.hidden_cost, parameters.real_network.settings
    prompting = of.settings.visual_prompting.model_dump() | {
        "canvas": s.size,
        "prompt": "full",
        "prompts": {"full": {}},
    }
    settings = of.settings.model_copy(
        update={
            "visual_prompting": type(of.settings.visual_prompting)(**prompting | {"mapping": s.mapping}),
            "linear_probe": of.settings.linear_probe.model_copy(update={"size": s.size, "inner": None}),
        }
    )
    recovery = parameters.recovery.model_copy(update={"size": s.size})
    hidden_cost = of.model_copy(update={"settings": settings})
    return parameters.model_copy(update={"hidden_cost": hidden_cost, "recovery": recovery})
