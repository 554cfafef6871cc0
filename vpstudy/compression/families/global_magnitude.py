"""Prunes the smallest weights of the whole network at once (Han et al., 2015; OMP), whatever layer they are in."""

from vpstudy.compression.family import Pruning


class GlobalMagnitude(Pruning):
    family, form = "global", "global-0.90"
    words = "one-shot global magnitude, {} % sparse", "global {} %"
    colours = "Greys"

    def make(self, access):
        from vpstudy.compression.magnitude import magnitude
        from vpstudy.compression.recipes import pruned

        backbone = access.dense()
        return pruned(self, backbone, magnitude(backbone.prunable, self.sparsity))
