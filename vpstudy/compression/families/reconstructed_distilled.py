"""Prunes the smallest weights at once, gives each layer dense's outputs by least squares, then distils from dense."""

from vpstudy.compression.families.reconstructed import Reconstructed


class ReconstructedDistilled(Reconstructed):
    family, form = "reconstructed_distilled", "reconstructed_distilled-0.50"
    words = "reconstructed and recovered {} %", "rec., recovered {} %"
    colours = "BuGn"
    learns_from_dense, control = True, "dense_distilled"

    def make(self, access):
        from vpstudy.compression.recipes import distilled

        return distilled(super().make(access), access)
