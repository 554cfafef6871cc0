"""Structured pruning: removes whole channels in groups (see `channel_groups`)."""

from collections.abc import Sequence

import torch

from vpstudy.compression.masks import Mask
from vpstudy.training.mask_search import channel_groups
from vpstudy.training.mask_search.channel_groups import Group, LearnedChannels
from vpstudy.training.mask_search.finders.magnitudes import dense
from vpstudy.training.mask_search.run import Candidate, Run


def depgraph(run: Run, ratio: float) -> Candidate:
    """Removes channels by the group norms of the fine-tuned dense network."""
    groups = _groups(run, ratio)
    network = run.tuned(dense(run, 0), "augmented", run.half, prompt=False)
    return _narrowed(run, ratio, groups, channel_groups.norms_of_groups(network.backbone, groups, run.settings.canvas))


def slimming(run: Run, ratio: float, l1: float = 0.001) -> Candidate:
    """Removes channels with the smallest BatchNorm factors after fine-tuning with their L1 norm times `l1`.

    Source: Network Slimming (Liu et al., ICCV 2017).
    """
    network, groups = run.fresh(), _groups(run, ratio)
    run.train(network, "tuning", learns="weights", passes="augmented", steps=run.half, l1=l1)
    return _narrowed(run, ratio, groups, channel_groups.factors_of_norms(network.backbone, groups))


def vpns_channels(run: Run, ratio: float, rate: float = 0.03) -> Candidate:
    """Scores of channels and a prompt, trained as in `vpns`; `rate` is the learning rate of the scores."""
    network, groups = run.fresh(run.method.finding_prompt), _groups(run, ratio)
    learned = LearnedChannels(network.backbone, groups, ratio)
    run.train(
        network, "finding", learns="scores", passes="alternating", steps=run.half, learned=learned, score_rate=rate
    )
    candidate = _narrowed(run, ratio, groups, learned.scores)
    candidate.network.prompt = network.prompt
    return candidate


def _narrowed(run: Run, ratio: float, groups: Sequence[Group], scores: Sequence[torch.Tensor]) -> Candidate:
    """The source network without the channels that score lowest."""
    network = run.fresh()
    channel_groups.remove(network.backbone, groups, channel_groups.lowest(scores, groups, ratio), run.settings.canvas)
    return Candidate(network, Mask.dense(network.backbone.prunable), run.half, run.half)


def _groups(run: Run, ratio: float) -> list[Group]:
    """The groups, before any training. Raises ValueError if they do not allow to remove so many channels."""
    groups = channel_groups.groups(run.fresh().backbone, run.settings.canvas)
    channel_groups.number(groups, ratio)
    return groups
