"""Removes whole channels, then trains the rest on the source."""

from vpstudy.compression.family import Pruning


class Channels(Pruning):
    family, form = "channels", "channels-0.50"
    words = "{} % of the channels removed", "channels {} %"
    colours = "Oranges"
    trains_on_source = True

    def make(self, access):
        from vpstudy.compression.channels import prune_channels
        from vpstudy.compression.recipes import pruned

        backbone = access.dense()
        prune_channels(backbone, self.sparsity, access.source.size)
        access.recover(backbone, self.name)
        return pruned(self, backbone)
