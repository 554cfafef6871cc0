"""SNIP: pruned at the start by the effect on the loss, then trained as dense was (Lee et al., ICLR 2019)."""

from vpstudy.compression.family import Pruning


class Snip(Pruning):
    family, form = "snip", "snip-0.90"
    words = "SNIP, {} % sparse", "SNIP {} %"
    colours = "Blues"
    trains_on_source = True

    def make(self, access):
        from vpstudy.compression.recipes import from_scratch
        from vpstudy.compression.scores import snip

        backbone = access.start()
        return from_scratch(self, backbone, snip(backbone, backbone.prunable, *access.pictures()), access)
