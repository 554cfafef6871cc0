"""Prunes the smallest weights gradually while training on the source continues."""

from vpstudy.compression.family import Pruning


class Gradual(Pruning):
    family, form = "gradual", "gradual-0.90"
    words = "gradual magnitude, {} % sparse", "gradual {} %"
    colours = "YlGn"
    trains_on_source = True

    def make(self, access):
        from vpstudy.compression.gradual import GradualPruning
        from vpstudy.compression.recipes import pruned

        backbone, begin = access.dense(), access.settings.recovery_from
        end = begin + round(0.75 * (access.source.steps - begin))  # the last quarter trains at the final sparsity
        every = max(1, (end - begin) // 20)
        pruning = GradualPruning(list(backbone.prunable), self.sparsity, begin, end, every)
        access.recover(backbone, self.name, pruning)
        return pruned(self, backbone, pruning.mask)
