"""Prunes as many weights of a layer as LAMP, those that cost least, and solves the rest for dense's outputs."""

from vpstudy.compression.families.magnitude import Magnitude


class Reconstructed(Magnitude):
    family, form = "reconstructed", "reconstructed-0.50"
    words = "one-shot, {} % sparse, layers reconstructed", "reconstructed {} %"
    colours = "Greens"
    recovered = True

    def make(self, access):
        from vpstudy.compression.masks import Mask
        from vpstudy.compression.recipes import pruned, reconstruct
        from vpstudy.compression.reconstruction import sparse

        backbone = access.dense()
        fewer = {name: int(kept.sum()) for name, kept in self.mask(backbone).items() if not kept.all()}
        reconstruct(backbone, access, {name: sparse(count) for name, count in fewer.items()})
        masks = {name: (w != 0) | (name not in fewer) for name, w in backbone.prunable.items()}
        return pruned(self, backbone, Mask({name: each.cpu() for name, each in masks.items()}))
