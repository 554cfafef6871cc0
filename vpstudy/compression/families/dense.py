"""Dense: the source weights unchanged."""

from vpstudy.compression.family import Compression


class Dense(Compression):
    family = form = label = "dense"

    def make(self, access):
        from vpstudy.compression.recipes import pruned

        return pruned(self, access.dense())
