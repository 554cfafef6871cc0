"""Gaussian noise on every prunable weight: no compression, but a harm of known size, by which targets are screened."""

import re

from vpstudy.compression.family import Compression, percent


class Noise(Compression):
    """`level`: standard deviation of the noise, as a share of that of the layer's weights."""

    family, form = "noise", "noise-0.20"
    screens = True

    @classmethod
    def read(cls, name, rest):
        if not re.fullmatch(r"-[0-9]\.[0-9]{2}", rest) or float(rest[1:]) == 0:
            raise ValueError("write the noise as a share of a layer's spread, above 0, with two decimals")
        return cls(name)

    @property
    def level(self) -> float:
        return float(self.name.removeprefix("noise-"))

    @property
    def label(self):
        return f"weight noise, {percent(self.level)} %"

    @property
    def short_label(self):
        return f"noise {percent(self.level)} %"

    def make(self, access):
        import torch

        from vpstudy.compression.recipes import pruned
        from vpstudy.runtime import generator

        backbone = access.dense()
        draw = generator("weight noise", access.folder.name, access.checkpoint)  # the same at every level, scaled
        with torch.no_grad():
            for weight in backbone.prunable.values():
                noise = torch.randn(weight.shape, generator=draw).to(weight)
                weight.add_(noise, alpha=self.level * float(weight.detach().std()))
        return pruned(self, backbone)
