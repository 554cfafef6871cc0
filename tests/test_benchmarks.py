"""Benchmarks compare ways that compute the same; how fast is for a quiet machine to say."""

import pytest
import torch

from benchmarks import ways
from benchmarks.timing import ratio
from vpstudy.runtime import Runtime


def test_both_ways_of_a_prompt_step_give_the_same_losses():
    runtime = Runtime(torch.device("cpu"), "fp32", torch.get_num_threads())
    work = ways.work(ways.random_backbone("cnn", 100), runtime, batch=8, inner=20, canvas=32)
    study, plain = ways.study_step(work, runtime), ways.plain_step(work)
    losses = [(study(), plain()) for _ in range(4)]
    assert all(one == pytest.approx(other, rel=1e-4) for one, other in losses)
    assert losses[-1] < losses[0]


def test_a_ratio_is_the_median_over_rounds():
    assert ratio([2.0, 4.0, 9.0], [1.0, 1.0, 1.0]) == {"ratio": 4.0, "quartiles": [3.0, 6.5], "rounds": [2.0, 4.0, 9.0]}
