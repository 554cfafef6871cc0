"""Masks by magnitudes of fine-tuned weights, one-shot (OMP) or iterative (IMP), and the dense network."""

from itertools import takewhile

import torch

from vpstudy.compression.magnitude import magnitude
from vpstudy.compression.masks import Mask
from vpstudy.training.mask_search.run import Candidate, Run


def dense(run: Run, _: float) -> Candidate:
    """No pruning."""
    network = run.fresh()
    return Candidate(network, Mask.dense(network.backbone.prunable), run.settings.steps)


def omp(run: Run, sparsity: float, published: bool = False) -> Candidate:
    """Magnitudes of the dense network after fine-tuning for half of the steps; as published, for as many as tuning."""
    if run.on_source:  # the backbone is already trained there
        return run.rewound(magnitude(run.source.prunable, sparsity), 0, run.half)
    steps = run.settings.steps if published else run.half
    weights = _trained(run, Mask.dense(run.source.prunable), steps)
    return run.rewound(magnitude(weights, sparsity), steps, steps)


def imp(run: Run, sparsity: float, published: bool = False) -> Candidate:
    """All rounds and the tuning together take as many steps as other methods; as published, each of them does."""
    ends = rounds(run, sparsity)
    steps = run.settings.steps if published else run.settings.steps // (len(ends) + 1)
    mask = Mask.dense(run.source.prunable)
    for each in ends:
        mask = magnitude(_trained(run, mask, steps), each, mask=mask)
    return run.rewound(mask, steps * len(ends), steps)


def rounds(run: Run, sparsity: float) -> list[float]:
    """Sparsities of the rounds of IMP, up to `sparsity`."""
    return [*takewhile(lambda r: r < sparsity, run.settings.imp_rounds), sparsity]


def _trained(run: Run, mask: Mask, steps: int) -> dict[str, torch.Tensor]:
    """The source weights trained under `mask`, prunable ones only; cached for all sparsities."""
    key = (run.seed, run.factor, steps, mask.kept)
    if key not in run.cache:
        tuned = run.tuned(run.rewound(mask), "augmented", steps, prompt=False)
        run.cache[key] = dict(tuned.backbone.prunable)
    return run.cache[key]
