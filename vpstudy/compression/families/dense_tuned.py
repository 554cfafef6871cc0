"""Dense weights trained on for as long as compressed ones are: the control of training after compression."""

from vpstudy.compression.families.dense import Dense


class DenseTuned(Dense):
    family = form = "dense_tuned"
    label = "dense, trained again"
    trains_on_source = True

    def make(self, access):
        made = super().make(access)
        access.recover(made.backbone)
        return made
