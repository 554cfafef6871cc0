"""Masks from scores of untuned weights: random, SNIP, GraSP, SynFlow."""

import torch

from vpstudy.compression.magnitude import prune_lowest
from vpstudy.compression.masks import Mask
from vpstudy.runtime import seed_for
from vpstudy.training.mask_search import scores
from vpstudy.training.mask_search.run import Candidate, Run

SCORING = 256  # training pictures to score with


def random(run: Run, sparsity: float) -> Candidate:
    """A random mask with the same sparsity in every layer."""
    ranking = scores.random_scores(run.fresh().backbone.prunable, seed_for("random", run.seed))
    return run.rewound(Mask({n: prune_lowest({n: values}, sparsity)[n] for n, values in ranking.items()}))


def snip(run: Run, sparsity: float) -> Candidate:
    network = run.fresh()
    ranking = scores.snip(network, network.backbone.prunable, *_scoring(run))
    return run.rewound(prune_lowest(ranking, sparsity), passes=_batches(run))


def grasp(run: Run, sparsity: float) -> Candidate:
    network = run.fresh()
    ranking = scores.grasp(network, network.backbone.prunable, *_scoring(run))
    return run.rewound(prune_lowest(ranking, sparsity), passes=2 * _batches(run))


def synflow(run: Run, sparsity: float) -> Candidate:
    """Its hundred passes take one picture each, so they count as one or two passes over a batch."""
    key = ("synflow", sparsity)  # neither a seed nor a learning rate changes it
    if key not in run.cache:
        backbone, size = run.fresh().backbone, run.settings.canvas
        run.cache[key] = scores.synflow(backbone.model, backbone.prunable, sparsity, (3, size, size))
    return run.rewound(run.cache[key], passes=-(-100 // run.settings.batch))


def _batches(run: Run) -> int:
    return -(-min(SCORING, len(run.examples)) // run.settings.batch)


def _scoring(run: Run) -> tuple[torch.Tensor, torch.Tensor]:
    """Training pictures in [0, 1] and labels to score with."""
    examples = run.examples
    draw = torch.Generator().manual_seed(seed_for("scoring", run.seed))
    chosen = torch.randperm(len(examples), generator=draw)[:SCORING].to(examples.labels.device)
    return examples.inputs[chosen].float() / 255, examples.labels[chosen]
