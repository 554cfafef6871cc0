"""Dense weights distilled from themselves: the control of recovery by distillation."""

from vpstudy.compression.families.dense import Dense


class DenseDistilled(Dense):
    family = form = "dense_distilled"
    label = "dense, recovered"
    learns_from_dense = True

    def make(self, access):
        from vpstudy.compression.recipes import distilled

        return distilled(super().make(access), access)
