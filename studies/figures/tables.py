"""Numbers as text in tables; tables as CSV and Markdown."""

from pathlib import Path

import pandas as pd

from vpstudy import atomic


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


def save(table: pd.DataFrame, name: str, folder: Path) -> None:
    """Write `<folder>/<name>.csv` and `.md` atomically; equal tables give equal bytes."""
    atomic.write_text(Path(folder) / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
    text = table.to_markdown(index=False, disable_numparse=True)
    atomic.write_text(Path(folder) / f"{name}.md", f"{text}\n")
