"""Prunes random weights before training, then trains as dense was."""

from vpstudy.compression.family import Pruning


class Random(Pruning):
    family, form = "random", "random-0.90"
    words = "random at the start, {} % sparse", "random {} %"
    colours = "Greys"
    trains_on_source = True

    def make(self, access):
        from vpstudy.compression.recipes import from_scratch
        from vpstudy.compression.scores import random_scores
        from vpstudy.runtime import seed_for

        backbone = access.start()
        seed = seed_for("random pruning", backbone.name, access.source.seed)
        return from_scratch(self, backbone, random_scores(backbone.prunable, seed), access)
