"""SNIP (Lee et al., ICLR 2019): prunes before training by the effect on the loss, then trains as dense was."""

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
