"""Weights and layer inputs rounded to a few bits."""

import re

from vpstudy.compression.family import RANGES, Compression, bits_of


class WeightsAndActivations(Compression):
    family, form = "w", "w4a4 (-mse, -lsq)"

    @classmethod
    def read(cls, name, rest):
        written = re.fullmatch(r"([^a-]*)a([^-]*)(-mse|-lsq)?", rest)
        if written is None:
            raise ValueError("write the bits of weights and of activations, e.g. w4a4, w4a4-mse or w4a4-lsq")
        bits, activation_bits = bits_of(written[1]), bits_of(written[2])
        return cls(name, bits=bits, activation_bits=activation_bits, ranges=(written[3] or "-minmax")[1:])

    @property
    def label(self):
        return f"W{self.bits}A{self.activation_bits}{RANGES[self.ranges]}"

    @property
    def trains_on_source(self):
        return self.ranges == "lsq"

    def make(self, access):
        from vpstudy.compression import activations, learned_steps
        from vpstudy.compression.recipes import batches, quantized

        backbone = access.dense()
        weights = list(backbone.prunable)
        if self.ranges == "lsq":
            seen = batches(backbone, access)
            learned_steps.attach(backbone.model, weights, self.bits, self.activation_bits, seen)
            access.recover(backbone, self.name)
            scales, ranges = learned_steps.freeze(backbone.model)
            return quantized(self, backbone, ranges, scales)
        layers, seen = [name.removesuffix(".weight") for name in weights], batches(backbone, access)
        model = backbone.frozen().model
        return quantized(self, backbone, activations.calibrate(model, layers, seen, self.activation_bits, self.ranges))
