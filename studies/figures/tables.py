"""Numbers as readers see them in tables, and tables as CSV and Markdown."""

from pathlib import Path

import pandas as pd

from vpstudy import atomic


def mean_text(row) -> str:
    """A row of `summarise` as "mean ± half the interval"; a dash where no run finished."""
    if not row.n:
        return "—"
    return f"{row.mean:.3f}" if row.n == 1 else f"{row.mean:.3f} ± {row.high - row.mean:.3f}"


def interval_text(row, digits: int = 3) -> str:
    """An effect (mean, low, high) as "+0.010 [-0.002, +0.022]"; alone where one replicate gives no interval."""
    interval = "" if pd.isna(row.low) else f" [{row.low:+.{digits}f}, {row.high:+.{digits}f}]"
    return f"{row.mean:+.{digits}f}{interval}"


def seeds_text(row) -> str:
    """How many runs stand behind a row of `summarise`."""
    seeds = row.n + row.n_diverged
    return f"{row.n_diverged} of {seeds} diverged" if row.n_diverged else str(seeds)


def save(table: pd.DataFrame, name: str, folder: Path) -> None:
    """Write `<folder>/<name>.csv` and `.md`, each whole or not at all; equal tables give equal bytes."""
    atomic.write_text(Path(folder) / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
    text = table.to_markdown(index=False, disable_numparse=True)
    atomic.write_text(Path(folder) / f"{name}.md", f"{text}\n")
