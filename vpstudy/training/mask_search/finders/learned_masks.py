"""Trained masks: HYDRA, BiP, and VPNs with a prompt."""

from vpstudy.training.mask_search.learned import LearnedMask
from vpstudy.training.mask_search.loop import Passes
from vpstudy.training.mask_search.run import Candidate, Run

SGD = 0.3  # learning rate of scores, chosen on validation with a seed outside the study


def hydra(run: Run, sparsity: float) -> Candidate:
    """Scores by SGD on augmented pictures."""
    return _learned(run, sparsity, "augmented", sgd=SGD)


def hydra_adam(run: Run, sparsity: float) -> Candidate:
    """Scores by Adam, as VPNs, on augmented pictures."""
    return _learned(run, sparsity, "augmented")


def vpns(run: Run, sparsity: float) -> Candidate:
    """In turn: scores and a prompt on prompted pictures, scores on augmented ones."""
    return _learned(run, sparsity, "alternating")


def bip(run: Run, sparsity: float, gamma: float = 1.0) -> Candidate:
    """Weights and scores in turn; the resulting weights are already tuned.

    As in the published code, γ serves only the implicit gradient; weights decay as in every method.
    """
    network = run.fresh()
    learned = LearnedMask(network.backbone.model, list(network.backbone.prunable), sparsity, gamma)
    passes = run.train(
        network, "tuning", learns="both", passes="augmented", steps=run.settings.steps, learned=learned, sgd=SGD
    )
    mask = learned.mask()
    learned.release()
    mask.apply_(network.backbone.prunable)
    return run.rewound(mask, passes, run.half) if run.on_source else Candidate(network, mask, 0, passes)


def _learned(run: Run, sparsity: float, passes: Passes, sgd: float | None = None) -> Candidate:
    network = run.fresh(run.method.finding_prompt)
    learned = LearnedMask(network.backbone.model, list(network.backbone.prunable), sparsity)
    taken = run.train(network, "finding", learns="scores", passes=passes, steps=run.half, learned=learned, sgd=sgd)
    candidate = run.rewound(learned.mask(), taken, run.half)
    if not run.on_source:
        candidate.network.prompt = network.prompt
    return candidate
