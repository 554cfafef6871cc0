"""Times of several ways taken in turns, so that a drift of the machine meets all of them, and their ratios."""

import time
from collections.abc import Callable, Mapping

import numpy as np
import torch

from vpstudy.progress import track

Times = dict[str, list[float]]  # seconds of each way, a value a round


def in_turns(ways: Mapping[str, Callable[[], object]], rounds: int, label: str) -> Times:
    """Run every way once unmeasured, then all of them in turns, `rounds` times."""
    times: Times = {name: [] for name in ways}
    for round_ in track(range(rounds + 1), label):
        for name, way in ways.items():
            start = _now()
            way()
            if round_:
                times[name].append(_now() - start)
    return times


def ratio(slow: list[float], fast: list[float]) -> dict:
    """How many times as long `slow` takes: the median over rounds, its quartiles, and every round."""
    ratios = np.array(slow) / np.array(fast)
    low, median, high = np.quantile(ratios, [0.25, 0.5, 0.75]).round(3).tolist()
    return {"ratio": median, "quartiles": [low, high], "rounds": ratios.round(3).tolist()}


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
