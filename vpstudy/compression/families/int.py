"""Weights rounded to a few bits, with one range per output channel; the first and the last layer to 8, as in LSQ."""

import re

from vpstudy.compression.family import MAX_BITS, MIN_BITS, RANGES, Compression, bits_of


class Integers(Compression):
    family, form = "int", f"int{MIN_BITS} … int{MAX_BITS} (-mse, -bc, -gptq)"

    @classmethod
    def read(cls, name, rest):
        written = re.fullmatch(r"([^-]*)(-mse|-bc|-gptq)?", rest)
        if written is None:
            raise ValueError("after the number of bits only -mse, -bc or -gptq may follow")
        return cls(name, bits=bits_of(written[1]), ranges=(written[2] or "-minmax")[1:])

    @property
    def label(self):
        return f"{self.bits}-bit weights{RANGES[self.ranges]}"

    @property
    def short_label(self):
        return f"{self.bits} bits{RANGES[self.ranges]}"

    def make(self, access):
        from vpstudy.compression.recipes import quantized

        return quantized(self, access.dense(), access, {})
