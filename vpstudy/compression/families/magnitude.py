"""Prunes the smallest weights at once, layer by layer as LAMP says (Lee et al., ICLR 2021).

Depthwise convolutions and the layers that read the picture stay dense: they hold few weights, and without them nothing
passes. Their weights count: `magnitude-0.50` is half of all prunable weights.
"""

from vpstudy.compression.family import Pruning


class Magnitude(Pruning):
    family, form = "magnitude", "magnitude-0.90"
    words = "one-shot magnitude, {} % sparse", "one-shot {} %"
    colours = "RdPu"

    def check(self, backbone):
        from vpstudy.compression.magnitude import check_lamp

        check_lamp(backbone.prunable, self.sparsity, _dense(backbone))

    def make(self, access):
        from vpstudy.compression.magnitude import lamp
        from vpstudy.compression.recipes import pruned

        backbone = access.dense()
        return pruned(self, backbone, lamp(backbone.prunable, self.sparsity, _dense(backbone)))


def _dense(backbone) -> list[str]:
    from vpstudy.compression import layers

    return [*layers.depthwise(backbone), *layers.first(backbone)]
