"""Base of the final notebooks' reports: figures and tables of one study at one scale."""

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
from IPython.display import Image, Markdown, display
from matplotlib.figure import Figure
from PIL import Image as Pictures

from studies import grid, results
from studies.claims import ledger
from studies.claims.conclusions import conclusions
from studies.claims.verdict import NOT_RUN
from studies.figures import style, tables
from studies.figures.sentences import Drawn
from studies.parameters import Parameters
from studies.results import Results
from studies.statistics import are_pooled
from vpstudy import atomic, paths

# depends on vpstudy/compression/families, whose labels are found by name

NOT_YET = "nothing has been run yet: `make repro` makes everything"


class Report:
    """Shows the figures and tables of `study` by name; with `save`, also writes them.

    PNG and tables go to `figures/<scale>/<study>`, in git; SVG and PDF to `data/figures/<scale>/<study>`, in DVC's
    cache. If the parameters have no cell of `stage`, or none has a result yet, a `LeftOut` replaces the report. While
    some cells have no result, what cannot do without them is not shown, and they are named.

    `figures` has functions of the report and of the runs of one architecture, which return `Drawn`, or None if this
    scale lacks the runs; each is drawn for every architecture of `runs`. `tables` has functions of the report.
    """

    study: ClassVar[str]
    stage: ClassVar[str | None] = None
    figures: ClassVar[Mapping[str, Callable[[Any, pd.DataFrame], Drawn | None]]] = {}
    tables: ClassVar[Mapping[str, Callable[[Any], pd.DataFrame]]] = {}
    runs: pd.DataFrame  # a row for each run, from `stage`

    def __new__(cls, parameters: Parameters, save: bool) -> Any:
        cells = grid.cells(parameters, cls.stage) if cls.stage else []
        if cls.stage and not cells:
            return LeftOut(
                NOT_RUN, [place / parameters.scale / cls.study for place in (paths.FIGURES, paths.VECTORS) if save]
            )
        if cells and not any(results.path(cell).exists() for cell in cells):
            return LeftOut("\n".join([NOT_YET, *results.not_made(cells)]), [])
        return super().__new__(cls)

    def __init__(self, parameters: Parameters, save: bool):
        self.parameters, self.save, self.shown = parameters, save, {}
        self.folder, self.vectors = (place / parameters.scale / self.study for place in (paths.FIGURES, paths.VECTORS))
        self.read = results.read(grid.cells(parameters, self.stage) if self.stage else [])
        self.contents, self.cells = self.read.contents, self.read.cells
        self.runs = with_columns(self.read, *tables.USUAL)

    def coverage(self) -> None:
        """Print what the report covers and what is missing, then show the verdicts on the study's claims."""
        runs = self.runs
        print(
            f"{len(self.cells)} cells, {len(runs)} rows; targets: {', '.join(dict.fromkeys(runs['target']))}; "
            f"{'networks' if are_pooled(runs) else 'source checkpoints'}: {runs['source_seed'].nunique()}; "
            f"seeds: {runs['seed'].nunique()}. "
            f"Runs that diverged: {(runs['status'] != 'ok').sum()}."
        )
        for note in self.read.notes():
            print(note)
        if entries := self.claims():
            columns = {"id": "claim", "statement": "statement", "verdict": "verdict", "reason": "why"}
            display_table(pd.DataFrame(entries)[[*columns]].rename(columns=columns))

    def claims(self) -> list[ledger.Entry]:
        """The entries of the study in the ledger of this scale."""
        return [entry for entry in ledger.read(self.parameters.scale) if entry["study"] == self.study]

    def show(self, name: str) -> None:
        """Show the figure or table of this name, or say what it lacks; with `save`, also write it."""
        try:
            made = self.tables[name](self) if name in self.tables else self.drawn(name)
        except (LookupError, ValueError, StopIteration):
            cells = [cell for cell in grid.cells(self.parameters) if cell.study in (self.study, "backbones")]
            missing = [cell for cell in cells if cell.axes and not results.path(cell).exists()]
            if not missing:
                raise
            print("not shown, as results are missing that it needs", *results.not_made(missing), sep="\n")
            return
        if isinstance(made, pd.DataFrame):
            if self.save and len(made):
                tables.save(made, name, self.folder)
            display_table(made) if len(made) else print(NOT_RUN)
            return
        for file, drawn in made.items() or [(name, None)]:
            if drawn is None:
                print(NOT_RUN)
                continue
            if self.save:
                style.save(drawn.figure, file, self.folder, self.vectors)
            display(preview(drawn.figure))
            display(Markdown(drawn.sentence))
            self.shown[file] = drawn.sentence

    def conclusions(self) -> str:
        """What the results amount to, as Markdown."""
        return conclusions(self.claims())

    def conclude(self) -> None:
        """Show the conclusions, then what all figures said, one line each."""
        sentences = "\n".join(f"- {sentence}" for sentence in self.shown.values())
        display(Markdown(f"{self.conclusions()}\n\nWhat each figure shows, in one sentence:\n\n{sentences}"))

    def runs_of(self, name: str) -> pd.DataFrame:
        """The runs that the figure of this name shows."""
        return self.runs

    def drawn(self, name: str) -> dict[str, Drawn | None]:
        """The figure of this name for each architecture, by file name."""
        every, found = self.runs_of(name), {}
        several = every["backbone"].nunique() > 1
        for backbone, runs in every.groupby("backbone", sort=False):
            drawn = self.figures[name](self, runs)
            if several and drawn:
                style.extend_title(drawn.figure, f" ({backbone})")
            found[f"{name}-{backbone}" if several else name] = drawn
        return found


class LeftOut:
    """Replaces the report of a study without results, and says why; its methods show nothing."""

    def __init__(self, why: str, folders: list[Path]):
        print(why)
        self.why = why
        for folder in folders:  # DVC expects them, and git keeps no empty one
            atomic.write_text(folder / "not_run.md", f"{why}\n")

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: print(NOT_RUN) if self.why == NOT_RUN else None


def with_columns(read: Results, *columns: str) -> pd.DataFrame:
    """The frame of results with these columns added: without a finished run, no row has metrics."""
    return read.frame.reindex(columns=list(dict.fromkeys([*read.frame.columns, *columns])))


def preview(figure: Figure) -> Image:
    """The figure in 256 colours, a third of the bytes: notebooks stay small, and files have every colour."""
    full, few = io.BytesIO(), io.BytesIO()
    figure.savefig(full, format="png", dpi=figure.dpi)
    Pictures.open(full).convert("RGB").quantize(256).save(few, "png", optimize=True)
    return Image(few.getvalue(), format="png")


def display_table(table: pd.DataFrame) -> None:
    """Show the whole table, as text where there is no HTML."""
    display({"text/html": tables.html(table), "text/plain": table.to_string(index=False)}, raw=True)
