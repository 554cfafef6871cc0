"""N:M sparsity: keeps the n largest of every m consecutive input weights of an output, which GPUs multiply faster.

Mishra et al., "Accelerating Sparse Deep Neural Networks" (2021). The inputs of a convolution are its input channels, at
each place of the kernel. Weights whose number of inputs is no multiple of m (a first layer, depthwise ones) stay dense.
"""

import re

from vpstudy.compression.family import Compression, percent


class StructuredSparsity(Compression):
    family, form = "nm", "nm-2of4"
    colours = "PuBu"

    @classmethod
    def read(cls, name, rest):
        written = re.fullmatch(r"-([1-9])of([1-9])", rest)
        if written is None or int(written[1]) >= int(written[2]):
            raise ValueError("say how many weights of how many stay, e.g. nm-2of4; digits from 1 to 9")
        return cls(name, sparsity=1 - int(written[1]) / int(written[2]))

    @property
    def label(self):
        return f"{self.short_label} ({percent(self.sparsity)} % sparse)"

    @property
    def short_label(self):
        return self.name.removeprefix("nm-").replace("of", ":")

    def make(self, access):
        from vpstudy.compression.masks import Mask
        from vpstudy.compression.recipes import pruned

        backbone, (n, m) = access.dense(), map(int, self.short_label.split(":"))
        return pruned(self, backbone, Mask({name: largest(w, n, m) for name, w in backbone.prunable.items()}))


def largest(weight, n: int, m: int):
    """Mask of the n largest |w| of every m consecutive inputs of a weight (O, I, ...); ties keep the later."""
    import torch

    kept = torch.ones_like(weight, dtype=torch.bool)
    if weight.shape[1] % m:
        return kept
    sizes = weight.detach().abs().movedim(1, -1).unflatten(-1, (-1, m))
    smallest = sizes.sort(dim=-1, stable=True).indices[..., : m - n]
    groups = torch.ones_like(sizes, dtype=torch.bool).scatter(-1, smallest, False)
    return groups.flatten(-2).movedim(-1, 1)
