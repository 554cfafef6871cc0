"""SynFlow (Tanaka et al., NeurIPS 2020): prunes before training by flow along paths, then trains as dense was."""

from vpstudy.compression.family import Pruning


class Synflow(Pruning):
    family, form = "synflow", "synflow-0.90"
    words = "SynFlow, {} % sparse", "SynFlow {} %"
    colours = "BuGn"
    trains_on_source = True

    def make(self, access):
        from vpstudy.compression.recipes import pruned, trained
        from vpstudy.compression.scores import synflow

        backbone, size = access.start(), access.source.size
        made = pruned(self, backbone, synflow(backbone.model, backbone.prunable, self.sparsity, (3, size, size)))
        return trained(made, lambda: access.train(backbone, "pretraining", 0))
