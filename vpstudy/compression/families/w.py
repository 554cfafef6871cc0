"""Weights and layer inputs rounded to a few bits; those of the first and the last layer to 8, as in LSQ."""

import re

from vpstudy.compression.family import RANGES, Compression, bits_of


class WeightsAndActivations(Compression):
    family, form = "w", "w4a4 (-mse, -bc, -gptq, -lsq)"

    @classmethod
    def read(cls, name, rest):
        written = re.fullmatch(r"([^a-]*)a([^-]*)(-mse|-bc|-gptq|-lsq)?", rest)
        if written is None:
            raise ValueError(
                "write the bits of weights and of activations, e.g. w4a4 or w4a4-mse (or -bc, -gptq, -lsq)"
            )
        bits, activation_bits = bits_of(written[1]), bits_of(written[2])
        return cls(name, bits=bits, activation_bits=activation_bits, ranges=(written[3] or "-minmax")[1:])

    @property
    def label(self):
        return f"W{self.bits}A{self.activation_bits}{RANGES[self.ranges]}"

    @property
    def trains_on_source(self):
        return self.ranges == "lsq"

    @property
    def control(self):
        return "dense_tuned" if self.trains_on_source else None

    def make(self, access):
        from vpstudy.compression import activations, layers, learned_steps
        from vpstudy.compression.recipes import batches, quantized

        backbone = access.dense()
        seen, bits = batches(backbone, access), layers.rounded(backbone, self.activation_bits)
        if self.ranges == "lsq":
            learned_steps.attach(backbone.model, layers.rounded(backbone, self.bits), bits, seen)
            access.recover(backbone)
            scales, ranges = learned_steps.freeze(backbone.model)
            return quantized(self, backbone, access, ranges, scales)
        ends = "minmax" if self.ranges == "minmax" else "mse"
        ranges = activations.calibrate(backbone.frozen().model, bits, seen, ends)
        return quantized(self, backbone, access, ranges)
