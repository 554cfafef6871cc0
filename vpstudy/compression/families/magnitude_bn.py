"""Prunes the smallest weights at once, then re-estimates BatchNorm statistics."""

from vpstudy.compression.families.magnitude import Magnitude


class MagnitudeBn(Magnitude):
    family, form = "magnitude_bn", "magnitude_bn-0.90"
    of_networks = True
    words = "one-shot magnitude, {} % sparse, new BatchNorm statistics", "one-shot {} % BN"

    def make(self, access):
        from vpstudy.compression.recipes import recalibrate

        made = super().make(access)
        recalibrate(made.backbone, access)
        return made
