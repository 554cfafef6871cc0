"""Scores by which a network is pruned before it is trained: by lot, SNIP, GraSP and SynFlow.

Scores rank the weights for `magnitude.prune_lowest`: the lowest go. A forward pass of SNIP and GraSP uses the
statistics of its own batch, as in training; nothing of the model is changed by any of them. A BatchNorm whose factors
are all zero, as the last one of each residual branch is at the start of training, counts as one of factors 1: else
every weight of the branch would score zero, and the branch would go as a whole.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from vpstudy.compression.magnitude import prune_lowest
from vpstudy.compression.masks import Mask


def random_scores(parameters: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Uniform in [0, 1)."""
    draw = torch.Generator().manual_seed(seed)
    return {name: torch.rand(weight.shape, generator=draw) for name, weight in parameters.items()}


def snip(model: nn.Module, prunable: Mapping[str, nn.Parameter], pictures: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """|w · dL/dw|: how much the loss changes with the weight's connection (Lee et al., ICLR 2019).

    Parameters
    ----------
    model
        Maps pictures (N, 3, H, W) to logits (N, K).
    prunable
        The weights to score, parameters of the model.
    labels
        (N,).
    """
    with _as_it_was(model):
        model.train().requires_grad_(True)
        loss = F.cross_entropy(model(pictures), labels)
        gradients = torch.autograd.grad(loss, list(prunable.values()))
    return {
        name: (weight * gradient).abs().detach()
        for (name, weight), gradient in zip(prunable.items(), gradients, strict=True)
    }


def grasp(
    model: nn.Module,
    prunable: Mapping[str, nn.Parameter],
    pictures: Tensor,
    labels: Tensor,
    temperature: float = 200.0,
) -> dict[str, Tensor]:
    """w · Hg, with g the gradient of the loss and H its Hessian (Wang et al., ICLR 2020).

    Removing a weight changes the squared norm of the gradient by about −2 w · Hg, so the published importance is
    S = −w · Hg and the weights of the largest S are removed: those whose removal helps the gradient flow, or hurts
    it least. The score here is −S, the lowest of which go. Logits are divided by `temperature`, as published.
    """
    weights = list(prunable.values())
    # Fused attention has no second derivative.
    with _as_it_was(model), sdpa_kernel(SDPBackend.MATH):
        model.train().requires_grad_(True)
        loss = F.cross_entropy(model(pictures) / temperature, labels)
        gradients = torch.autograd.grad(loss, weights, create_graph=True)
        flow = sum((gradient * gradient.detach()).sum() for gradient in gradients)
        products = torch.autograd.grad(flow, weights)  # Hg
    return {
        name: (weight * product).detach() for (name, weight), product in zip(prunable.items(), products, strict=True)
    }


def synflow(
    model: nn.Module,
    prunable: Mapping[str, nn.Parameter],
    sparsity: float,
    input_shape: tuple[int, int, int],
    iterations: int = 100,
) -> Mask:
    """The mask of SynFlow (Tanaka et al., NeurIPS 2020): no data, and no layer is pruned away before its time.

    The score of a weight is the sum, over all paths from input to output through it, of the product of the absolute
    weights on the path: |w · dR/dw| with R the sum of the outputs for a picture of ones, every parameter replaced
    by its absolute value. Density falls exponentially in `iterations` rounds, scored anew in each. BatchNorm takes its
    running statistics, which in an untrained network are 0 and 1; as this needs to be linear, biases and means
    count as zero, and LayerNorm only multiplies by its factors, as BatchNorm does. Of a transformer, queries and keys
    score zero, since for a picture of ones all tokens are the same: they go. Computed in double precision.

    Parameters
    ----------
    model
        Takes pictures of `input_shape`.

    Raises
    ------
    ValueError
        If sparsity is outside [0, 1) or iterations is below 1.
    """
    if not 0 <= sparsity < 1 or iterations < 1:
        raise ValueError(f"sparsity={sparsity}, iterations={iterations}: give 0 <= sparsity < 1 and iterations >= 1")
    device = next(model.parameters()).device
    mask = Mask.dense(prunable)
    with _as_it_was(model), ExitStack() as stack:
        model.eval().double().requires_grad_(True)
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        scored = {name: model.get_parameter(names[id(parameter)]) for name, parameter in prunable.items()}
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.abs_()
            for module in model.modules():
                if getattr(module, "bias", None) is not None:
                    module.bias.zero_()
                if isinstance(getattr(module, "running_mean", None), Tensor):
                    module.running_mean.zero_()
        for module in model.modules():
            if isinstance(module, nn.LayerNorm):
                hook = module.register_forward_hook(lambda norm, inputs, _: inputs[0] * norm.weight)
                stack.callback(hook.remove)
        ones = torch.ones(1, *input_shape, dtype=torch.float64, device=device)
        for round_ in range(1, iterations + 1):
            mask.apply_(scored)
            flow = torch.autograd.grad(model(ones).sum(), list(scored.values()))
            scores = {
                name: (weight * gradient).abs().detach()
                for (name, weight), gradient in zip(scored.items(), flow, strict=True)
            }
            mask = prune_lowest(scores, 1 - (1 - sparsity) ** (round_ / iterations), mask=mask)
    return mask


@contextmanager
def _as_it_was(model: nn.Module) -> Iterator[None]:
    """Open the branches of `model`, and give it back with the values, types, modes and flags that it came with."""
    values = {p: p.detach().clone(memory_format=torch.preserve_format) for p in model.parameters()}
    buffers = {
        module: {key: b.clone() for key, b in module._buffers.items() if b is not None} for module in model.modules()
    }
    flags = {parameter: parameter.requires_grad for parameter in model.parameters()}
    modes = {module: module.training for module in model.modules()}
    try:
        with torch.no_grad():
            for module in model.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine and not module.weight.any():
                    module.weight.fill_(1)
        yield
    finally:
        for parameter, value in values.items():
            parameter.data = value
            parameter.requires_grad_(flags[parameter])
        for module, of_module in buffers.items():
            module._buffers.update(of_module)  # a change of type replaces them
        for module, mode in modes.items():
            module.training = mode
