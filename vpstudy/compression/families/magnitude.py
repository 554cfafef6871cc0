"""Prunes the smallest weights of the network at once."""

from vpstudy.compression.family import Pruning


class Magnitude(Pruning):
    family, form = "magnitude", "magnitude-0.90"
    words = "one-shot magnitude, {} % sparse", "one-shot {} %"
    colours = "RdPu"

    def make(self, access):
        from vpstudy.compression.magnitude import magnitude
        from vpstudy.compression.recipes import pruned

        backbone = access.dense()
        return pruned(self, backbone, magnitude(backbone.prunable, self.sparsity))
