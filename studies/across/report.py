"""Report of across: figures and tables from committed results."""

import pandas as pd

from studies import grid, results
from studies.across import effects, figures, strip
from studies.across.effects import ARM, COST, DEPENDENCE, METRICS, OTHER
from studies.figures import compressions, panels, tables
from studies.parameters import Parameters
from studies.report import Report, with_columns
from studies.statistics import summarise
from vpstudy.models.architectures import parse

MORE = {"ece": "ECE", "nll": "NLL (nats)", "brier": "Brier"}


class AcrossReport(Report):
    """Report on one scale: `runs` (a row each, without controls) and `effects` (from `effects.table`)."""

    study, stage = "across", "quantize_visual_prompt"

    def __init__(self, parameters: Parameters, save: bool):
        super().__init__(parameters, save)
        self.results = results.read(grid.cells(parameters, self.stage))
        more = ("prompt_bytes", "rms", "learning_rate")
        every = with_columns(self.results, *METRICS, *MORE, *ARM, *more)
        self.runs = every[~every["arm"].str.endswith(OTHER)]
        self.codebook = parameters.across.settings.codebooks[0]
        self.effects = effects.table(every, self.codebook)

    def coverage(self) -> None:
        """Print what was run and what is missing."""
        runs, contents = self.runs, self.results.contents.values()
        print(
            f"{len(contents)} cells, {len(runs)} rows: {', '.join(dict.fromkeys(runs['compression']))}; "
            f"{', '.join(dict.fromkeys(runs['target']))}; {runs['source_seed'].nunique()} source checkpoint(s), "
            f"{runs['seed'].nunique()} seeds; {', '.join({str(c['facts']['values']) for c in contents})} values in a "
            f"border. Runs that diverged: {int((runs['status'] != 'ok').sum())}."
        )
        for note in self.results.notes():
            print(note)

    def by_bits(self) -> None:
        for (backbone, target), runs in self.runs.groupby(["backbone", "target"], sort=False):
            title = f"Visual prompts of few bits on compressed backbones ({backbone}, {target})"
            self.show(f"by_bits_{backbone}_{target}", figures.by_bits(runs, title))

    def costs(self) -> None:
        """Show the cost of quantizing on each backbone: paired changes against full precision."""
        note = "Quantized less full precision, in pairs of the same seed and target. Left of zero: lower."
        self._effects("changes", COST, "What the bits of a prompt cost", note)

    def dependence(self) -> None:
        """Show whether that cost depends on compression: interactions, against dense."""
        note = "The change by quantizing on a compressed backbone less that on the dense one, by seed and target."
        self._effects("interactions", DEPENDENCE, "Does a compressed backbone pay more?", note)

    def _effects(self, name: str, comparison: str, title: str, note: str) -> None:
        shown = self.effects[self.effects["comparison"] == comparison]
        shown = shown[(shown["arm"] == "qat") | (shown["codebook"] == self.codebook)]
        for backbone, table in shown.groupby("backbone", sort=False):
            runs = self.runs[self.runs["backbone"] == backbone].assign(status="ok")
            words = f"{note} {panels.seeds_note(runs, 'bars')}"
            figure = figures.effects(table, list(runs["compression"]), f"{title} ({backbone})", words)
            self.show(f"{name}_{backbone}", figure)

    def prompts(self) -> None:
        """Show the learned borders of the first source checkpoint and seed."""
        for (backbone, target), runs in self.runs.groupby(["backbone", "target"], sort=False):
            pictures = {}
            for cell, content in self.results.contents.items():
                axes, path = dict(cell.axes), results.prompt_path(cell)
                if parse(axes["backbone"]) == (backbone, runs["source_seed"].iloc[0]) and axes["target"] == target:
                    borders = strip.read(path, content["rows"]) if path.exists() else {}
                    pictures |= {(axes["compression"], *key): picture for key, picture in borders.items()}
            note = f"Seed {runs['seed'].iloc[0]}. In full, the same quantized after training (k-means), and others "
            note += "trained through the quantizer. The picture's place is black."
            if pictures:
                figure = figures.prompts(pictures, f"Learned borders, quantized ({backbone}, {target})", note)
                self.show(f"prompts_{backbone}_{target}", figure)

    def effects_table(self) -> pd.DataFrame:
        """Every effect of every comparison, with its words."""
        table = self.effects
        readable = {
            "backbone": table["backbone"],
            "comparison": table["comparison"],
            "metric": table["metric"],
            "compression": table["compression"].map(compressions.label),
            "prompt": _labels(table),
            "change [95 %]": [tables.interval_text(row, 4) for row in table.itertuples()],
            "replicates": table["replicates"],
            "says": table["words"],
        }
        return self.table("effects", pd.DataFrame(readable))

    def tuning(self) -> pd.DataFrame:
        """Validation result of each learning rate, with the first seed."""
        rows = [
            {**dict(cell.axes), "bits in training": each["bits"], **one}
            for cell, content in self.results.contents.items()
            for each in content["facts"]["tuning"]
            for one in each["tried"]
        ]
        return self.table("tuning", pd.DataFrame(rows).round(4))

    def all_results(self) -> pd.DataFrame:
        """Every metric of every arm, mean ± half of the 95 % interval, and stored bytes."""
        by = ["backbone", "target", "compression", *ARM]
        of = {words: summarise(self.runs, by, metric) for metric, words in (METRICS | MORE).items()}
        first, groups = of["accuracy"], self.runs.groupby(by, sort=False, dropna=False)
        rms, border = groups["rms"].mean().to_numpy(), groups["prompt_bytes"].first().to_numpy()
        backbone = self._backbone_bytes(first)
        table = first[["backbone", "target"]].assign(compression=first["compression"].map(compressions.label))
        table["prompt"] = _labels(first)
        table["error of values (RMS)"] = ["—" if pd.isna(value) else f"{value:.4f}" for value in rms]
        for words, summary in of.items():
            table[words] = [tables.mean_text(row) for row in summary.itertuples()]
        table["seeds"] = [tables.seeds_text(row) for row in first.itertuples()]
        table["border (B)"] = [f"{value:,.0f}" if value > 0 else "—" for value in border]
        table["backbone (B)"] = [f"{value:,.0f}" for value in backbone]
        ratios = zip(backbone, border, strict=True)
        table["targets that weigh as much"] = [f"{whole / one:,.0f}" if one > 0 else "—" for whole, one in ratios]
        return self.table("results", table)

    def _backbone_bytes(self, rows: pd.DataFrame) -> list[float]:
        """Stored bytes of each row's backbone, mean over source checkpoints."""
        stored = pd.DataFrame(
            {**dict(cell.axes), "bytes": content["facts"]["backbone_bytes"]}
            for cell, content in self.results.contents.items()
        )
        stored["backbone"] = [parse(name)[0] for name in stored["backbone"]]
        by = ["backbone", "target", "compression"]
        return rows[by].merge(stored.groupby(by, as_index=False)["bytes"].mean(), on=by)["bytes"].to_list()

    def conclusion(self) -> pd.DataFrame:
        """Effects in words, learning rate and quantization error, by backbone, compression and metric."""
        rows = []
        for (backbone, metric, compression), group in self.effects.groupby(
            ["backbone", "metric", "compression"], sort=False
        ):
            after = self.runs[(self.runs["backbone"] == backbone) & (self.runs["compression"] == compression)]
            after = after[(after["arm"] == "ptq") & (after["codebook"] == self.codebook)]
            cost, against = (group[group["comparison"] == each] for each in (COST, DEPENDENCE))
            same_rate = group[~group["comparison"].isin([COST, DEPENDENCE])]
            row = {"backbone": backbone, "compression": compressions.label(compression), "metric": metric}
            row["learning rate"] = ", ".join(f"{rate:g}" for rate in sorted(set(after["learning_rate"])))
            row["error of values at the fewest bits"] = round(
                after.loc[after["bits"] == after["bits"].min(), "rms"].mean(), 3
            )
            row["k-means after training within the margin down to"] = effects.fewest_bits(cost, "clustered") or "—"
            row |= {f"{word} than full precision": _named(cost, word) for word in ("lower", "higher")}
            row["change differs from dense's"] = _named(against, "lower", "higher")
            rows.append(row | {"and at one learning rate": _named(same_rate, "lower", "higher")})
        return self.table("conclusion", pd.DataFrame(rows))


def _labels(table: pd.DataFrame) -> list[str]:
    return [figures.label(*key) for key in table[ARM].itertuples(index=False)]


def _named(table: pd.DataFrame, *words: str) -> str:
    """Count and names of the arms whose effect has one of `words`."""
    if table.empty:
        return "—"
    found = table[table["words"].str.contains("|".join(words))]
    return f"{len(found)} of {len(table)}" + (f": {'; '.join(dict.fromkeys(_labels(found)))}" if len(found) else "")
