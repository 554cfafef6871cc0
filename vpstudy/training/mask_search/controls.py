"""Controls: other uses of a method's mask than its own tuning; `methods.py` registers and labels them.

Each takes a run, a sparsity, the method's candidate and its tuned network. It returns a network and the passes over a
batch that it took, including those to find the mask.
"""

from dataclasses import replace

from vpstudy.training.mask_search.finders import finder
from vpstudy.training.mask_search.run import Candidate, Run
from vpstudy.training.mask_search.subnetwork import Subnetwork

Controlled = tuple[Subnetwork, int]


def untouched(run: Run, sparsity: float, candidate: Candidate, tuned: Subnetwork) -> Controlled:
    return candidate.network, candidate.passes


def bn(run: Run, sparsity: float, candidate: Candidate, tuned: Subnetwork) -> Controlled:
    return run.recalibrated(candidate.network), candidate.passes


def two_pass(run: Run, sparsity: float, candidate: Candidate, tuned: Subnetwork) -> Controlled:
    return _on_two_passes(run, candidate, prompt=False)


def prompted(run: Run, sparsity: float, candidate: Candidate, tuned: Subnetwork) -> Controlled:
    return _on_two_passes(run, candidate, prompt=True)


def prompt_only(run: Run, sparsity: float, candidate: Candidate, tuned: Subnetwork) -> Controlled:
    return run.prompted(candidate.network), candidate.passes + run.half


def prompt_after(run: Run, sparsity: float, candidate: Candidate, tuned: Subnetwork) -> Controlled:
    return run.prompted(tuned), candidate.passes + candidate.tuning + run.half


def source_mask(run: Run, sparsity: float, candidate: Candidate, tuned: Subnetwork) -> Controlled:
    candidate = finder(run.method.finder)(replace(run, on_source=True), sparsity)
    return run.finished(candidate), candidate.passes + candidate.tuning


def _on_two_passes(run: Run, candidate: Candidate, prompt: bool) -> Controlled:
    if not candidate.tuning:  # tuned weights start again, as under every other mask
        candidate = run.rewound(candidate.mask, candidate.passes, run.half)
    network = run.tuned(candidate, "alternating", candidate.tuning, prompt)
    return network, candidate.passes + candidate.tuning
