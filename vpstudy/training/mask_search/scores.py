"""Scores for pruning a network before training: random, SNIP, GraSP and SynFlow.

Scores rank weights for `magnitude.prune_lowest`: the lowest go. SNIP and GraSP use batch statistics, as in training;
the model is left unchanged. A BatchNorm whose factors are all zero, as the last of each residual branch at the start of
training, counts as having factors 1: else the whole branch would score zero and be pruned.
"""

import copy
from collections.abc import Mapping

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

    `model` maps pictures (N, 3, H, W) to logits (N, K); `prunable` are its parameters to score; `labels` are (N,).
    """
    model, weights = _copies(model, prunable)
    scores = _connections(F.cross_entropy(model.train()(pictures), labels), weights)
    return {name: score.abs() for name, score in scores.items()}


def grasp(
    model: nn.Module,
    prunable: Mapping[str, nn.Parameter],
    pictures: Tensor,
    labels: Tensor,
    temperature: float = 200.0,
) -> dict[str, Tensor]:
    """w · Hg, with g the gradient of the loss and H its Hessian (Wang et al., ICLR 2020).

    Removing a weight changes the squared norm of the gradient by about −2 w · Hg, so the published importance is
    S = −w · Hg and weights of largest S are removed: this helps the gradient flow, or hurts it least. Scores here are
    −S, and the lowest go. Logits are divided by `temperature`, as published.
    """
    model, weights = _copies(model, prunable)
    with sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivative
        loss = F.cross_entropy(model.train()(pictures) / temperature, labels)
        gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
        flow = sum((gradient * gradient.detach()).sum() for gradient in gradients)
        return _connections(flow, weights)  # whose gradient is Hg


def synflow(
    model: nn.Module,
    prunable: Mapping[str, nn.Parameter],
    sparsity: float,
    input_shape: tuple[int, int, int],
    iterations: int = 100,
) -> Mask:
    """Mask of SynFlow (Tanaka et al., NeurIPS 2020): uses no data and avoids layer collapse.

    A weight's score |w · dR/dw| sums the products of absolute weights over all paths through it; R is the sum of
    outputs for a picture of ones (`input_shape`), with absolute parameters. Density falls exponentially over
    `iterations` rounds, each with new scores. The network must be linear: BatchNorm uses its running statistics (0 and
    1 if untrained), biases and means count as zero, LayerNorm only multiplies by its factors, and ReLU6 has no upper
    end, beyond which all weights before it would score zero. In a transformer queries and keys score zero and go, since
    all tokens are the same. Computed in double precision. Raises ValueError for bad `sparsity` or `iterations`.
    """
    if not 0 <= sparsity < 1 or iterations < 1:
        raise ValueError(f"sparsity={sparsity}, iterations={iterations}: give 0 <= sparsity < 1 and iterations >= 1")
    device = next(model.parameters()).device
    mask = Mask.dense(prunable)
    model, weights = _copies(model, prunable)
    model.eval().double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_()
        for module in model.modules():
            if getattr(module, "bias", None) is not None:
                module.bias.zero_()
            if isinstance(getattr(module, "running_mean", None), Tensor):
                module.running_mean.zero_()
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.LayerNorm):
            module.register_forward_hook(lambda norm, inputs, _: inputs[0] * norm.weight)
        if isinstance(module, nn.Hardtanh):  # ReLU6 is one
            model.set_submodule(name, nn.Identity())
    ones = torch.ones(1, *input_shape, dtype=torch.float64, device=device)
    for round_ in range(1, iterations + 1):
        mask.apply_(weights)
        scores = {name: score.abs() for name, score in _connections(model(ones).sum(), weights).items()}
        mask = prune_lowest(scores, 1 - (1 - sparsity) ** (round_ / iterations), mask=mask)
    return mask


def _connections(of: Tensor, weights: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """w · d`of`/dw of each weight."""
    gradients = torch.autograd.grad(of, list(weights.values()))
    pairs = zip(weights.items(), gradients, strict=True)
    return {name: (weight * gradient).detach() for (name, weight), gradient in pairs}


def _copies(model: nn.Module, prunable: Mapping[str, nn.Parameter]) -> tuple[nn.Module, dict[str, nn.Parameter]]:
    """Copies with gradients, and all-zero BatchNorm factors set to 1; the weights are those of the copied model."""
    model, prunable = copy.deepcopy((model, dict(prunable)))
    for module in model.requires_grad_(True).modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine and not module.weight.any():
            nn.init.ones_(module.weight)
    return model, prunable
