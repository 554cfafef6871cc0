"""GraSP: pruned at the start by the effect on the gradient, then trained as dense was (Wang et al., ICLR 2020)."""

from vpstudy.compression.family import Pruning


class Grasp(Pruning):
    family, form = "grasp", "grasp-0.90"
    words = "GraSP, {} % sparse", "GraSP {} %"
    colours = "GnBu"
    trains_on_source = True

    def make(self, access):
        from vpstudy.compression.recipes import from_scratch
        from vpstudy.compression.scores import grasp

        backbone = access.start()
        return from_scratch(self, backbone, grasp(backbone, backbone.prunable, *access.pictures()), access)
