"""Tables of prompt notebooks: means over the seeds that finished, and changes after storage."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from IPython.display import Markdown
from torch import Tensor

from studies.qprompt.labels import ZERO_SHOT

Row = dict[str, Any]  # as in a result


def base_and_new(rows: Sequence[Row]) -> Markdown:
    """Accuracy on base and new and their harmonic mean, by arm."""
    lines = ["| arm | base | new | harmonic mean | bytes | seeds |", "|---|---|---|---|---|---|"]
    for arm, mine in _grouped(rows, lambda r: " ".join([*filter(None, [r.get("prompter")]), r["arm"]])).items():
        of = {g: {r["seed"]: r["metrics"]["accuracy"] for r in _done(mine) if r["group"] == g} for g in ("base", "new")}
        pairs = [(of["base"][seed], of["new"][seed]) for seed in of["base"] if seed in of["new"]]
        both = [2 * b * n / max(b + n, 1e-12) for b, n in pairs]
        means = " | ".join(map(_mean, (of["base"].values(), of["new"].values(), both)))
        lines.append(f"| {arm} | {means} | {mine[0]['bytes']} | {len(of['base'])} |")
    return Markdown("\n".join(lines))


def by_group_and_shots(rows: Sequence[Row]) -> Markdown:
    """Accuracy by arm: a column for each group and number of pictures. Zero-shot is the same at each number."""
    columns = list(dict.fromkeys((r["group"], r["budget"]) for r in rows if r["arm"] != ZERO_SHOT))
    heads = [f"{group}, {budget} per class" for group, budget in columns]
    lines = [f"| arm | {' | '.join(heads)} | bytes |", "|---" * (len(heads) + 2) + "|"]
    for arm, mine in _grouped(rows, lambda r: r["arm"]).items():
        means = [
            _mean(r["metrics"]["accuracy"] for r in _done(mine) if r["group"] == group and r["budget"] in (budget, "0"))
            for group, budget in columns
        ]
        lines.append(f"| {arm} | {' | '.join(means)} | {mine[0]['bytes']} |")
    return Markdown("\n".join(lines))


def changed(logits: Tensor, again: Tensor) -> dict[str, int | float]:
    """Differences in logits (N, K) after a prompt is stored and unpacked."""
    return {
        "largest change of a logit": float((again - logits).abs().max()),
        "answers that change": int((again.argmax(1) != logits.argmax(1)).sum()),
    }


def _grouped(rows: Iterable[Row], name: Callable[[Row], str]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(name(row), []).append(row)
    return groups


def _done(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row["status"] == "ok"]


def _mean(values: Iterable[float]) -> str:
    values = list(values)
    return f"{np.mean(values):.3f}" if values else "—"
