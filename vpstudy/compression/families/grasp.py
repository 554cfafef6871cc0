"""GraSP (Wang et al., ICLR 2020): prunes before training by the effect on the gradient, then trains as dense was."""

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
