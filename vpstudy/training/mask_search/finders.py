"""How masks are found: a function for each method, from a run and a sparsity to a mask with its network."""

import time
from collections.abc import Callable
from itertools import takewhile

import torch

from vpstudy.compression import scores
from vpstudy.compression.learned import LearnedMask
from vpstudy.compression.magnitude import magnitude, prune_lowest
from vpstudy.compression.masks import Mask
from vpstudy.runtime import seed_for
from vpstudy.training.mask_search import channels
from vpstudy.training.mask_search.run import Found, Run


def dense(run: Run, _: float) -> Found:
    network = run.fresh()
    return Found(network, Mask.dense(network.backbone.prunable), run.settings.steps)


def random(run: Run, sparsity: float) -> Found:
    """By lot, every layer to the same sparsity."""
    weights = run.fresh().backbone.prunable
    return rewound(run, prune_lowest(scores.random_scores(weights, seed_for("random", run.seed)), sparsity, "layer"))


def snip(run: Run, sparsity: float) -> Found:
    network = run.fresh()
    ranking = scores.snip(network, network.backbone.prunable, *_scoring(run))
    return rewound(run, prune_lowest(ranking, sparsity), passes=_batches_to_score(run))


def grasp(run: Run, sparsity: float) -> Found:
    network = run.fresh()
    ranking = scores.grasp(network, network.backbone.prunable, *_scoring(run))
    return rewound(run, prune_lowest(ranking, sparsity), passes=2 * _batches_to_score(run))


def synflow(run: Run, sparsity: float) -> Found:
    """Its hundred passes take one picture each, so they count as one pass over a batch, or two."""
    backbone, size = run.fresh().backbone, run.settings.canvas
    mask = scores.synflow(backbone.model, backbone.prunable, sparsity, (3, size, size))
    return rewound(run, mask, passes=-(-100 // run.settings.batch))


def omp(run: Run, sparsity: float) -> Found:
    """One-shot magnitudes of the fine-tuned dense network; half of the steps go into that."""
    return _omp(run, sparsity, run.settings.steps // 2)


def omp_published(run: Run, sparsity: float) -> Found:
    """As published: fine-tuning dense takes as many steps again as tuning."""
    return _omp(run, sparsity, run.settings.steps)


def imp(run: Run, sparsity: float) -> Found:
    """Iterative magnitudes, all rounds and the tuning together as long as other methods' tuning."""
    return _imp(run, sparsity, run.settings.steps // (len(rounds(run, sparsity)) + 1))


def imp_published(run: Run, sparsity: float) -> Found:
    """As published: each round takes as many steps as tuning."""
    return _imp(run, sparsity, run.settings.steps)


def hydra(run: Run, sparsity: float) -> Found:
    """Scores by SGD, on augmented pictures."""
    return _learned(run, sparsity, "augmented", sgd=True)


def hydra_adam(run: Run, sparsity: float) -> Found:
    """Scores by Adam, as VPNs', on augmented pictures."""
    return _learned(run, sparsity, "augmented")


def vpns(run: Run, sparsity: float) -> Found:
    """Scores and a prompt on prompted pictures, then scores on augmented ones, in turn."""
    return _learned(run, sparsity, "alternating")


def bip(run: Run, sparsity: float) -> Found:
    """Weights and scores in turn; the weights come out tuned.

    As in the published code, γ is that of the implicit gradient alone; the weights have the decay of every method.
    """
    network = run.fresh()
    learned = LearnedMask(network.backbone.model, list(network.backbone.prunable), sparsity, run.settings.gamma)
    passes = run.train(network, "tuning", "both", "augmented", run.settings.steps, learned, sgd=True)
    mask = learned.release()
    mask.apply_(network.backbone.prunable)
    if run.on_source:
        return rewound(run.of_target(), mask, passes, run.settings.steps // 2)
    return Found(network, mask, 0, passes)


def depgraph(run: Run, ratio: float) -> Found:
    """Channels of the smallest weights, over all layers of a group, in the fine-tuned dense network."""
    half = run.settings.steps // 2
    network = run.tuned(dense(run, 0), "augmented", half, prompt=False)
    return _narrowed(run, ratio, channels.norms_of_groups(network.backbone, _groups(run), run.settings.canvas), half)


def slimming(run: Run, ratio: float) -> Found:
    """Channels of the smallest BatchNorm factors, in the dense network fine-tuned with an L1 norm on them."""
    half, network = run.settings.steps // 2, run.fresh()
    run.train(network, "tuning", "weights", "augmented", half, slimming=run.settings.slimming)
    return _narrowed(run, ratio, channels.factors_of_norms(network.backbone, _groups(run)), half)


def vpns_channels(run: Run, ratio: float) -> Found:
    """Scores of channels and a prompt, as `vpns` learns those of weights."""
    network = run.fresh(run.method.finding_prompt)
    learned = channels.LearnedChannels(network.backbone, _groups(run), ratio)
    half, rate = run.settings.steps // 2, run.settings.channel_rate
    taken = run.train(network, "finding", "scores", "alternating", half, learned, score_rate=rate)
    scores_of = [scores.detach() for scores in learned.scores]
    learned.release()
    found = _narrowed(run, ratio, scores_of, taken)
    found.network.prompt = network.prompt
    return found


def rounds(run: Run, sparsity: float) -> list[float]:
    """The rounds of IMP up to a sparsity."""
    return [*takewhile(lambda r: r < sparsity, run.settings.imp_rounds), sparsity]


def _omp(run: Run, sparsity: float, steps: int) -> Found:
    if run.on_source:
        # which is trained there already
        return rewound(run.of_target(), magnitude(run.source.prunable, sparsity), 0, run.settings.steps // 2)
    weights = _trained(run, Mask.dense(run.source.prunable), steps)
    return rewound(run, magnitude(weights, sparsity), steps, steps)


def _imp(run: Run, sparsity: float, steps: int) -> Found:
    mask, passes = Mask.dense(run.source.prunable), 0
    for each in rounds(run, sparsity):
        mask = magnitude(_trained(run, mask, steps), each, mask=mask)
        passes += steps
    return rewound(run, mask, passes, steps)


def _trained(run: Run, mask: Mask, steps: int) -> dict[str, torch.Tensor]:
    """The prunable weights after training from the source weights under `mask`; trained once for all sparsities."""
    key = (run.seed, run.factor, steps, mask.kept)
    if key in run.cache:
        run.saved += run.cache[key][1]
    else:
        start = time.perf_counter()
        tuned = run.tuned(rewound(run, mask), "augmented", steps, prompt=False)
        run.cache[key] = dict(tuned.backbone.prunable), time.perf_counter() - start
    return run.cache[key][0]


def _learned(run: Run, sparsity: float, passes: str, sgd: bool = False) -> Found:
    network = run.fresh(run.method.finding_prompt)
    learned = LearnedMask(network.backbone.model, list(network.backbone.prunable), sparsity)
    taken = run.train(network, "finding", "scores", passes, run.settings.steps // 2, learned, sgd)
    mask = learned.release()
    if run.on_source:
        return rewound(run.of_target(), mask, taken, run.settings.steps // 2)
    found = rewound(run, mask, taken, run.settings.steps // 2)
    found.network.prompt = network.prompt
    return found


def rewound(run: Run, mask: Mask, passes: int = 0, tuning: int | None = None) -> Found:
    """The source weights under a mask, whatever was trained to find it, with all steps left to tune unless told."""
    network = run.fresh()
    mask.apply_(network.backbone.prunable)
    return Found(network, mask, run.settings.steps if tuning is None else tuning, passes)


def _narrowed(run: Run, ratio: float, ranking: list[torch.Tensor], passes: int) -> Found:
    """The source weights without the channels that rank lowest."""
    network, groups = run.fresh(), _groups(run)
    kept = channels.lowest(ranking, groups, ratio)
    channels.remove(network.backbone, groups, kept, run.settings.canvas)
    return Found(network, Mask.dense(network.backbone.prunable), run.settings.steps // 2, passes)


def _groups(run: Run) -> list[channels.Group]:
    return channels.groups(run.fresh().backbone, run.settings.canvas)


def _batches_to_score(run: Run) -> int:
    return -(-min(run.settings.scoring, len(run.examples)) // run.settings.batch)


def _scoring(run: Run) -> tuple[torch.Tensor, torch.Tensor]:
    """Training pictures in [0, 1] and labels to score with."""
    examples = run.examples
    draw = torch.Generator().manual_seed(seed_for("scoring", run.seed))
    chosen = torch.randperm(len(examples), generator=draw)[: run.settings.scoring].to(examples.labels.device)
    return examples.inputs[chosen].float() / 255, examples.labels[chosen]


FINDERS: dict[str, Callable[[Run, float], Found]] = {
    finder.__name__: finder
    for finder in (
        *(dense, random, omp, imp, snip, grasp, synflow, hydra, hydra_adam, bip, vpns),
        *(depgraph, slimming, vpns_channels),
    )
}
PUBLISHED = {"omp": omp_published, "imp": imp_published}  # which take more steps than the others
