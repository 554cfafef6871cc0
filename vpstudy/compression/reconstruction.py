"""Layer-wise calibration: each compressed layer gives dense's outputs on its own inputs, without labels or training.

Layers are changed in the order of one forward pass, so each makes up for the errors of those before it. Lazarevich et
al., "Post-training deep neural network pruning via layer-wise calibration" (ICCV workshops 2021, arXiv 2104.15023).
"""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from timm.layers import Conv2dSame, pad_same
from torch import Tensor, nn

from vpstudy.compression import activations, quantization
from vpstudy.models.backbones import Backbone
from vpstudy.models.fused import norms_after
from vpstudy.runtime import generator

PICTURES = 320  # at most; they go through the network at once
POSITIONS = 12_000  # output positions of a layer, over all pictures, that its statistics are taken from
# Towards the old weights, as a share of the mean variance of inputs. Of 0.1, 1 and 3 the best on sharp photographs that
# nothing reports. Masks by Optimal Brain Surgeon were better on the pictures' own set, and worse on these.
RIDGE = 0.1
DAMPING = 1e-2  # of GPTQ, as the same share

# From a weight (G, O, D), the covariance of its inputs (G, D, D) and the covariance of dense's outputs, less the
# layer's own, with them (G, O, D), to the new weight. G: groups of a convolution.
Solve = Callable[[Tensor, Tensor, Tensor], Tensor]


@torch.no_grad()
def reconstruct(backbone: Backbone, dense: Backbone, pictures: Tensor, solves: Mapping[str, Solve]) -> None:
    """Change the layers in `solves`, by the names of their weights, so that `backbone` answers as `dense`.

    A layer's bias, or the mean of the BatchNorm that reads it, takes the mean error that is left. `pictures`
    (N, 3, H, W) are normalised. Both backbones are left frozen. Raises ValueError for a layer that no picture reaches
    or that does more than multiply by its weight, and if torch.fx cannot follow a network with BatchNorm.
    """
    backbone.frozen(), dense.frozen()
    wanted: dict[str, Tensor] = {}
    try:
        norms = norms_after(backbone.model)
    except Exception as error:  # of many kinds: any code of a network may fail
        raise ValueError(f"torch.fx cannot follow this network to its BatchNorm: {error}; take magnitude-…") from error

    def note(name: str, inputs: Tensor) -> None:
        wanted[name] = _outputs(activations.owner(dense.model, name), name, inputs)[1]

    def change(name: str, inputs: Tensor) -> None:
        if name not in wanted:  # a layer that is used twice
            return
        layer = activations.owner(backbone.model, name)
        chosen, outputs = _outputs(layer, name, inputs)
        weight = layer.weight.flatten(1).unflatten(0, (getattr(layer, "groups", 1), -1)).double()  # (G, O, D)
        seen = layer_inputs(layer, inputs, chosen).double()  # (G, M, D)
        error = (wanted.pop(name) - outputs).double().unflatten(1, (len(weight), -1)).movedim(1, 0)  # (G, M, O)
        _check(name, layer, seen, weight, outputs)
        shifts = layer.bias is not None or layer in norms
        centred, misses = ((each - shifts * each.mean(1, keepdim=True)) for each in (seen, error))
        gram, pull = (each.mT @ centred / len(chosen) for each in (centred, misses))
        new = solves[name](weight, gram, pull)
        layer.weight.copy_(new.view_as(layer.weight))
        shift = (error - seen @ (new - weight).mT).mean(1).flatten()
        if layer.bias is not None:
            layer.bias += shift
        elif shifts:
            norms[layer].running_mean -= shift

    activations.observe(dense.model, solves, [pictures], note)
    activations.observe(backbone.model, solves, [pictures], change)


def least_squares(kept: Tensor) -> Solve:
    """Solve for the weights that the mask `kept` (C, ...) of a layer keeps, with `RIDGE` towards the old ones."""

    def solve(weight: Tensor, gram: Tensor, pull: Tensor) -> Tensor:
        ridged = _ridged(gram, RIDGE)
        new, mask = weight.clone(), kept.to(weight.device).flatten(1).view(weight.shape)
        for group, output in torch.cartesian_prod(*map(torch.arange, weight.shape[:2])).tolist():
            free = mask[group, output].nonzero().flatten()
            factor = torch.linalg.cholesky(ridged[group][free][:, free])
            change = torch.cholesky_solve(pull[group, output, free].unsqueeze(1), factor)
            new[group, output, free] += change.flatten()
        return new

    return solve


def nearest(bits: int, scales: Tensor) -> Solve:
    """Round to the nearest value of `quantization`; only the bias corrects (Nagel et al., ICCV 2019, section 4.2)."""
    return lambda weight, *_: _rounded(weight.flatten(0, 1), bits, scales).view_as(weight)


def gptq(bits: int, scales: Tensor) -> Solve:
    """Solve for the weights by least squares, all of them, and round input by input.

    The later inputs make up for the error of the earlier (GPTQ: Frantar et al., ICLR 2023). The least squares undo what
    rounding changed in the layers before (as in GPTAQ: Li et al., ICML 2025).
    """

    def solve(weight: Tensor, gram: Tensor, pull: Tensor) -> Tensor:
        rest = weight + torch.cholesky_solve(pull.mT, torch.linalg.cholesky(_ridged(gram, RIDGE))).mT
        new = torch.empty_like(weight)
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(_ridged(gram, DAMPING)))
        factor = torch.linalg.cholesky(inverse, upper=True)  # (G, D, D)
        for i in range(weight.shape[-1]):
            column = rest[..., i : i + 1]
            new[..., i : i + 1] = _rounded(column.flatten(0, 1), bits, scales).view_as(column)
            missed = (column - new[..., i : i + 1]) / factor[:, i, i].view(-1, 1, 1)
            rest[..., i:] -= missed * factor[:, i : i + 1, i:]
        return new

    return solve


def layer_inputs(layer: nn.Conv2d | nn.Linear, inputs: Tensor, chosen: Tensor) -> Tensor:
    """What the weight (G · O, D) of a layer multiplies at its `chosen` output positions (M,), sorted: (G, M, D).

    Positions are counted over all of the batch.
    """
    if isinstance(layer, nn.Linear):
        return inputs.flatten(0, -2)[chosen].unsqueeze(0)
    if isinstance(layer, Conv2dSame):
        padded = pad_same(inputs, layer.kernel_size, layer.stride, layer.dilation)
    else:
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        padded = F.pad(inputs, layer._reversed_padding_repeated_twice, mode)
    how = {"kernel_size": layer.kernel_size, "dilation": layer.dilation, "stride": layer.stride}
    each = F.unfold(padded[:1], **how).shape[-1]  # positions of a picture
    places = (chosen % each).split(torch.bincount(chosen // each, minlength=len(inputs)).tolist())
    patches = [F.unfold(p, **how)[0, :, at] for p, at in zip(padded.split(1), places, strict=True)]
    return torch.cat(patches, 1).unflatten(0, (layer.groups, -1)).mT


def _outputs(layer: nn.Module, name: str, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """At most `POSITIONS` output positions (M,), the same for dense and compressed, and the outputs there (M, C)."""
    outputs = layer.forward(inputs)  # without hooks
    outputs = (outputs.movedim(1, -1) if isinstance(layer, nn.Conv2d) else outputs).flatten(0, -2)
    chosen = torch.randperm(len(outputs), generator=generator("reconstruction", name))[:POSITIONS].sort().values
    chosen = chosen.to(inputs.device)
    return chosen, outputs[chosen]


def _check(name: str, layer: nn.Module, seen: Tensor, weight: Tensor, outputs: Tensor) -> None:
    products = (seen @ weight.mT).movedim(0, 1).flatten(1) + (0 if layer.bias is None else layer.bias)
    if (products - outputs).abs().max() > 0.01 * outputs.abs().max():
        raise ValueError(f"{name}: its layer does more than multiply by this weight, so no weight can be solved for")


def _ridged(gram: Tensor, share: float) -> Tensor:
    """Covariances (G, D, D) with that share of their mean variance on the diagonal."""
    ridge = share * gram.diagonal(dim1=1, dim2=2).mean(1).clamp_min(torch.finfo(gram.dtype).tiny)
    return gram + ridge.view(-1, 1, 1) * torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)


def _rounded(weight: Tensor, bits: int, scales: Tensor) -> Tensor:
    return quantization.fake_quantize(weight.float(), bits, scales).to(weight.dtype)
