"""Tables: numbers as text, results of every arm, display in notebooks, CSV and Markdown."""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from studies.claims.verdict import VERDICTS
from studies.statistics import summarise
from vpstudy import atomic

METRICS = {  # in every table and figure
    "accuracy": "test accuracy",
    "ece_debiased": "debiased ECE",
    "ece": "ECE",
    "ece_equal_mass": "ECE (equal mass)",
    "ece_classwise": "ECE (class-wise)",
    "overconfidence": "over",
    "underconfidence": "under",
    "legacy_ece": "legacy quantity",
    "nll": "NLL (nats)",
    "brier": "Brier",
    "brier_reliability": "Brier: reliability",
    "brier_resolution": "resolution",
    "brier_uncertainty": "uncertainty",
    "temperature": "temperature",
    "ece_debiased_scaled": "debiased ECE after it",
    "nll_scaled": "NLL after it (nats)",
}
USUAL = ("accuracy", "ece_debiased", "nll", "brier")
NUMBER = re.compile(r"[+\-−]?\d|< \d|—$")
GREY = "#e9e9e9"
COLOURS = dict.fromkeys(VERDICTS, GREY) | {  # verdict: background
    "reproduced": "#c9ebdf",
    "contradicted": "#f9d5bd",
    "inconclusive": "#dbe7f3",
}
WIDEST, WIDTH = 15, 0.4  # em: the least width of prose, at most and a character
HEAD = (
    "text-align: left; vertical-align: bottom; position: sticky; top: 0; "
    "background: var(--jp-layout-color0, var(--color-background-primary, white))"
)
SCROLLED = 60  # rows; longer tables scroll, all claims do not


def mean_text(row) -> str:
    """A row of `summarise` as "mean ± half the interval"; a dash if no run finished."""
    if not row.n:
        return "—"
    return f"{row.mean:.3f}" if row.n == 1 else f"{row.mean:.3f} ± {row.high - row.mean:.3f}"


def interval_text(row, digits: int = 3) -> str:
    """An effect as "+0.010 [-0.002, +0.022]"; one replicate has no interval."""
    interval = "" if pd.isna(row.low) else f" [{row.low:+.{digits}f}, {row.high:+.{digits}f}]"
    return f"{row.mean:+.{digits}f}{interval}"


def seeds_text(row) -> str:
    """Number of runs in a row of `summarise`, or how many of them diverged."""
    seeds = row.n + row.n_diverged
    return f"{row.n_diverged} of {seeds} diverged" if row.n_diverged else str(seeds)


def results(
    runs: pd.DataFrame, by: Sequence[str], label: Callable[[Any], dict[str, str]], metrics: Iterable[str] = USUAL
) -> pd.DataFrame:
    """A row for each group of `runs`: the columns of `label` (from a row of `summarise`), each metric, runs."""
    summaries = {METRICS[metric]: summarise(runs, by, metric) for metric in metrics}
    first = [*next(iter(summaries.values())).itertuples()]
    texts = {words: [mean_text(row) for row in summary.itertuples()] for words, summary in summaries.items()}
    return pd.DataFrame([label(row) for row in first]).assign(**texts, runs=[seeds_text(row) for row in first])


def chosen(tuned: Iterable[tuple[str, Sequence[Mapping[str, Any]]]], setting: str) -> pd.DataFrame:
    """How often validation chose each value of `setting`, by arm; `tuned` has an arm and what was tried each time."""
    rows = [
        {"arm": arm, setting: one[setting], "chosen": one is best}
        for arm, tried in tuned
        for best in [max(tried, key=lambda one: (one["validation_accuracy"], -one["validation_nll"]))]
        for one in tried
    ]
    frame = pd.DataFrame(rows, columns=["arm", setting, "chosen"])
    return frame.groupby(["arm", setting], sort=False)["chosen"].agg(tried="size", chosen="sum").reset_index()


def html(table: pd.DataFrame, links: Sequence[str] = ()) -> str:
    """The whole table in a box that scrolls: prose to the left, numbers to the right, verdicts coloured.

    Several numbers in one cell stand below each other. With `links`, an address a row, the first cells lead there.
    Equal tables give equal text.
    """
    numeric = [column for column in table if table[column].map(lambda value: bool(NUMBER.match(str(value)))).all()]
    right = [{"selector": f"th.col{table.columns.get_loc(name)}", "props": "text-align: right"} for name in numeric]
    shown = table.reset_index(drop=True).replace(dict.fromkeys(numeric, "; "), "\n", regex=True)
    styler = shown.style.hide(axis="index").format(escape="html", precision=3)
    for row, address in enumerate(links):
        styler.format(f'<a href="{address}">{{}}</a>', subset=(row, table.columns[0]))
    styler.set_properties(**{"text-align": "left", "vertical-align": "top", "white-space": "normal"})
    for column in table.columns.difference(numeric):
        width = min(WIDEST, WIDTH * table[column].astype(str).str.len().max())
        styler.set_properties(subset=[column], **{"min-width": f"{width:.0f}em"})
    figures = {"text-align": "right", "white-space": "pre", "font-variant-numeric": "tabular-nums"}
    styler.set_properties(subset=numeric, **figures)
    styler.map(lambda value: f"background-color: {COLOURS[value]}; color: black" if value in COLOURS else "")
    styler.set_table_styles([{"selector": "th", "props": HEAD}, *right])
    name = hashlib.sha1(table.to_csv().encode()).hexdigest()[:10]  # not random, and another for each table of a page
    height = "max-height: 40em; " if len(table) > SCROLLED else ""
    return f'<div style="{height}overflow: auto">{styler.set_uuid(name).to_html()}</div>'


def save(table: pd.DataFrame, name: str, folder: Path) -> None:
    """Write `<folder>/<name>.csv` and `.md` atomically; equal tables give equal bytes."""
    atomic.write_text(Path(folder) / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
    text = table.to_markdown(index=False, disable_numparse=True)
    atomic.write_text(Path(folder) / f"{name}.md", f"{text}\n")
