"""Prunes the smallest weights at once, then trains the rest on the source."""

from vpstudy.compression.families.magnitude import Magnitude


class MagnitudeTuned(Magnitude):
    family, form = "magnitude_tuned", "magnitude_tuned-0.90"
    words = "one-shot magnitude, {} % sparse, trained again", "one-shot {} % tuned"
    colours = "YlOrRd"
    trains_on_source, control = True, "dense_tuned"
    recovered = True

    def make(self, access):
        from vpstudy.compression.recipes import trained

        made = super().make(access)
        return trained(made, lambda: access.recover(made.backbone))
