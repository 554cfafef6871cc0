"""Prunes the smallest weights at once, then distils from dense on other pictures, without labels."""

from vpstudy.compression.families.magnitude import Magnitude


class MagnitudeDistilled(Magnitude):
    family, form = "magnitude_distilled", "magnitude_distilled-0.50"
    words = "recovered {} %", "recovered {} %"
    colours = "Purples"
    learns_from_dense, control = True, "dense_distilled"
    recovered = True

    def make(self, access):
        from vpstudy.compression.recipes import distilled

        return distilled(super().make(access), access)
