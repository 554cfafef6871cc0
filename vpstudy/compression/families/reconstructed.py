"""Prunes the smallest weights at once, then gives each layer dense's outputs by least squares, without labels."""

from vpstudy.compression.families.magnitude import Magnitude


class Reconstructed(Magnitude):
    family, form = "reconstructed", "reconstructed-0.50"
    words = "one-shot magnitude, {} % sparse, reconstructed", "rec. {} %"
    colours = "Greens"
    recovered = True

    def make(self, access):
        from vpstudy.compression.recipes import reconstruct
        from vpstudy.compression.reconstruction import least_squares

        made = super().make(access)
        pruned = {name: kept for name, kept in made.mask.items() if not kept.all()}
        reconstruct(made.backbone, access, {name: least_squares(kept) for name, kept in pruned.items()})
        return made
