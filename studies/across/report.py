"""The final notebook of across: committed results in, figures and tables out."""

import pandas as pd
from IPython.display import Markdown

from studies import grid, results
from studies.across import figures as across
from studies.across import strip
from studies.across.claims import ARM, UNRESOLVED, changes, effects, fewest_bits, interactions
from studies.figures import compressions, dots, panels, tables
from studies.parameters import Parameters
from studies.report import Report, with_columns
from studies.statistics import summarise
from vpstudy.models.architectures import parse

METRICS = {"accuracy": "accuracy", "ece_debiased": "debiased ECE"}
NEVER_DRAWN = "dense (zero)"  # takes the colour that dense has in the other figures
MORE = {"ece": "ECE", "nll": "NLL (nats)", "brier": "Brier"}


class AcrossReport(Report):
    """The results of one scale, as one tidy frame.

    Attributes
    ----------
    runs
        One row for each (backbone, source checkpoint, compression, target, arm, codebook, bits, seed).
    every
        With the controls at learning rates that were not chosen.
    """

    study, stage = "across", "quantize_visual_prompt"

    def __init__(self, parameters: Parameters, save: bool):
        super().__init__(parameters, save)
        cells = grid.cells(self.parameters, "quantize_visual_prompt")
        self._read = results.read(cells)
        self.records = results.read_records(cells)
        more = ("prompt_bytes", "rms", "learning_rate")
        self.every = with_columns(self._read, *METRICS, *MORE, *ARM, *more)
        self.runs = self.every[~self.every["arm"].str.endswith("_other")]
        of_cell = {tuple(value for _, value in cell.axes): r["facts"] for cell, r in self.records.items()}
        self.facts = pd.DataFrame(
            {"backbone_name": b, "compression": c, "target": t, "backbone_bytes": f["backbone_bytes"]}
            for (b, c, t), f in of_cell.items()
        )

    @property
    def parts(self) -> list[tuple[str, str, pd.DataFrame]]:
        """Every (backbone, target, runs)."""
        return [(b, t, runs) for (b, t), runs in self.runs.groupby(["backbone", "target"], sort=False)]

    def coverage(self) -> None:
        """Say what the notebook rests on, and what is missing."""
        runs, sizes = self.runs, sorted({record["facts"]["values"] for record in self.records.values()})
        print(
            f"{len(self.records)} cells, {len(runs)} rows: {', '.join(dict.fromkeys(runs['compression']))}; "
            f"{', '.join(dict.fromkeys(runs['target']))}; {runs['source_seed'].nunique()} source checkpoint(s), "
            f"{runs['seed'].nunique()} seeds; {', '.join(map(str, sizes))} values in a border. "
            f"Runs that diverged: {int((runs['status'] != 'ok').sum())}."
        )
        for note in self._read.notes():
            print(note)

    def by_bits(self) -> None:
        """Accuracy and calibration against bits."""
        for backbone, target, runs in self.parts:
            frames = [summarise(runs, ["compression", *ARM], m).assign(metric=m) for m in METRICS]
            note = "32: trained in full precision. Hollow, –: the grey border that training starts from. "
            note += panels.seeds_note(runs, "bars")
            title = f"Visual prompts of few bits on compressed backbones ({backbone}, {target})"
            self.show(f"by_bits_{backbone}_{target}", across.by_bits(pd.concat(frames), METRICS, title, note))

    def by_bytes(self) -> None:
        """Accuracy against what is stored."""
        for backbone, target, runs in self.parts:
            table = summarise(runs, ["compression", *ARM], "accuracy")
            stored = runs.dropna(subset="prompt_bytes").groupby(["compression", *ARM], dropna=False)["prompt_bytes"]
            table = table.merge(stored.first().reset_index(), on=["compression", *ARM])
            of_backbone = self._backbone_bytes(backbone, target)
            table["total_bytes"] = table["prompt_bytes"] + table["compression"].map(of_backbone)
            note = "Means over runs. Codes and codebook are counted exactly; 16 and 32 bits have no codebook."
            title = f"Accuracy against what is stored ({backbone}, {target})"
            self.show(f"by_bytes_{backbone}_{target}", across.by_bytes(table, title, note))

    def _backbone_bytes(self, backbone: str, target: str) -> pd.Series:
        """Mean over source checkpoints, by compression."""
        facts = self.facts[self.facts["target"] == target]
        facts = facts[facts["backbone_name"].map(lambda name: name.partition("-r")[0] == backbone)]
        return facts.groupby("compression")["backbone_bytes"].mean()

    def prompts(self) -> None:
        """The learned borders, of the first source checkpoint and seed."""
        for backbone, target, runs in self.parts:
            pictures = {}
            for cell, content in self.records.items():
                axes, path = dict(cell.axes), results.prompt_path(cell)
                if parse(axes["backbone"]) == (backbone, runs["source_seed"].iloc[0]) and axes["target"] == target:
                    borders = strip.read(path, content["rows"]) if path.exists() else {}
                    pictures |= {(axes["compression"], *key): picture for key, picture in borders.items()}
            if pictures:
                note = (
                    f"Seed {runs['seed'].iloc[0]}. Trained in full, the same quantized after training, and others "
                    "trained so (k-means). The picture's place is black."
                )
                figure = across.prompts(pictures, f"Learned borders, quantized ({backbone}, {target})", note)
                self.show(f"prompts_{backbone}_{target}", figure)

    def costs(self) -> pd.DataFrame:
        """What quantizing costs on each backbone: paired changes against full precision."""
        note = "Quantized less full precision, in pairs of the same seed and target. Left of zero: lower."
        return self._effects("changes", changes, "What the bits of a prompt cost", note)

    def dependence(self) -> pd.DataFrame:
        """Does that cost depend on the backbone's compression: differences of differences against dense."""
        note = (
            "The change by quantizing on a compressed backbone less that on the dense one, paired by seed and target."
        )
        title = "Does a compressed backbone pay more?"
        return self._effects("interactions", lambda runs, m: interactions(changes(runs, m)), title, note)

    def equal_rates(self) -> pd.DataFrame:
        """The same dependence where every backbone's borders are trained at one learning rate."""
        found = []
        for backbone, runs in self.every.groupby("backbone", sort=False):
            for rate, same in runs.groupby("learning_rate"):
                arms = same["arm"].str.removesuffix("_other")
                same = same.assign(arm=arms)[arms.isin(["full", "ptq"])]
                same = same[
                    same["codebook"].isna() | (same["codebook"] == self.parameters.across.settings.codebooks[0])
                ]
                for metric, words in METRICS.items():
                    table = effects(interactions(changes(same, metric)))
                    found.append(_readable(table.assign(panel=words, backbone=backbone)).assign(rate=f"{rate:g}"))
        table = pd.concat(found, ignore_index=True) if found else pd.DataFrame()
        return self.table("equal_rates", table.rename(columns={"rate": "learning rate"}))

    def _effects(self, name: str, measure, title: str, note: str) -> pd.DataFrame:
        tables_ = []
        for backbone, runs in self.runs.groupby("backbone", sort=False):
            runs = runs[~runs["arm"].isin(["half", "grey"])]
            of = [effects(measure(runs, m)).assign(panel=words, backbone=backbone) for m, words in METRICS.items()]
            table = pd.concat(of, ignore_index=True)
            tables_.append(table)
            if table.empty:
                continue
            table = table.assign(
                row=[across.label(*key) for key in table[ARM].itertuples(index=False)],
                group=table["compression"].map(compressions.label),
            )
            table = table[(table["arm"] == "qat") | (table["codebook"] == self.parameters.across.settings.codebooks[0])]
            if "dense" not in set(table["compression"]):  # so that colours are those of the other figures
                zero = table.iloc[:1].assign(group=NEVER_DRAWN, n=0, n_diverged=0)
                table = pd.concat([zero, table])
            seeds = panels.seeds_note(runs.assign(status="ok"), "bars")
            figure = dots.draw(table, "change", f"{title} ({backbone})", f"{note} {seeds}", zero=True)
            if table["group"].iloc[0] == NEVER_DRAWN:
                (legend,) = figure.legends
                drawn = {text.get_text(): h for text, h in zip(legend.texts, legend.legend_handles, strict=True)}
                legend.remove()
                drawn.pop(NEVER_DRAWN)
                figure.legend(drawn.values(), drawn.keys(), loc="outside lower center", ncols=min(len(drawn), 5))
            self.show(f"{name}_{backbone}", figure)
        table = pd.concat(tables_, ignore_index=True) if tables_ else pd.DataFrame()
        return self.table(name, _readable(table)) if len(table) else table

    def stored(self) -> pd.DataFrame:
        """Bytes of backbone and border, and how many targets' borders weigh as much as the backbone."""
        rows = []
        for backbone, target, runs in self.parts:
            of_backbone = self._backbone_bytes(backbone, target)
            kept = runs[(runs["arm"] != "grey") & (runs["codebook"] != "uniform")].dropna(subset="prompt_bytes")
            for (name, *_), group in kept.groupby(["compression", *ARM], sort=False, dropna=False):
                one, prompt, whole = group.iloc[0], int(group["prompt_bytes"].iloc[0]), of_backbone[name]
                if one["arm"] == "qat" and len(kept[(kept["arm"] == "ptq") & (kept["bits"] == one["bits"])]):
                    continue  # as many bytes
                rows.append(
                    {"backbone": backbone, "target": target, "compression": compressions.label(name)}
                    | {"bits": one["bits"], "border (B)": prompt, "backbone (B)": round(whole)}
                    | {"together (B)": round(whole + prompt), "share (%)": f"{100 * prompt / (whole + prompt):.2f}"}
                    | {"targets that weigh as much": round(whole / prompt)}
                )
        return self.table("stored", pd.DataFrame(rows))

    def results(self) -> pd.DataFrame:
        """Every metric of every arm, mean ± half of the 95 % interval."""
        by = ["backbone", "target", "compression", *ARM]
        of = {words: summarise(self.runs, by, m) for m, words in (METRICS | MORE).items()}
        first = of["accuracy"]
        rms = self.runs.groupby(by, sort=False, dropna=False)["rms"].mean().reset_index()["rms"]
        table = pd.DataFrame({"backbone": first["backbone"], "target": first["target"]})
        table["compression"] = first["compression"].map(compressions.label)
        table["prompt"] = [across.label(*key) for key in first[ARM].itertuples(index=False)]
        table["error of values (RMS)"] = ["—" if pd.isna(value) else f"{value:.4f}" for value in rms]
        for words, summary in of.items():
            table[words] = [tables.mean_text(row) for row in summary.itertuples()]
        table["seeds"] = [tables.seeds_text(row) for row in first.itertuples()]
        return self.table("results", table)

    def tuning(self) -> pd.DataFrame:
        """What each learning rate reached on validation, with the first seed."""
        rows = [
            {**dict(cell.axes), "bits in training": each["bits"], **one}
            for cell, record in self.records.items()
            for each in record["facts"]["tuning"]
            for one in each["tried"]
        ]
        return self.table("tuning", pd.DataFrame(rows).round(4))

    def conclusion(self) -> Markdown:
        """The answer in words that follow from the effects."""
        lines = []
        for backbone, runs in self.runs.groupby("backbone", sort=False):
            lines += self._spread(backbone, runs)
            for metric, named in METRICS.items():
                of_changes = changes(runs[~runs["arm"].isin(["half", "grey"])], metric)
                table, against = effects(of_changes), effects(interactions(of_changes))
                for name, group in table.groupby("compression", sort=False):
                    fewest = fewest_bits(group, "ptq", "clustered")
                    kept = "at no number of bits" if fewest is None else f"from the most bits down to {fewest}"
                    low, high = (_bits(group, word) for word in ("lower", "higher"))
                    lines.append(
                        f"- {backbone}, {compressions.label(name)}, {named}: k-means after training stays within the "
                        f"margin {kept}; lower than full precision: {low}; higher: {high}."
                    )
                differ = against[against["words"].str.contains("lower|higher")]
                names = [
                    f"{compressions.label(r.compression)}, {across.label(r.arm, r.codebook, r.bits)}: {r.words}"
                    for r in differ.itertuples()
                ]
                inside = int(against["words"].str.contains("within").sum())
                open_ = int(against["words"].isin(UNRESOLVED).sum())
                lines.append(
                    f"- {backbone}, {named}: does the change depend on compression? Of {len(against)} comparisons with "
                    f"dense {len(differ)} differ ({'; '.join(names) or 'none'}), {inside} are within the margin, "
                    f"{open_} are not resolved."
                )
            lines += self._at_equal_rates(backbone)
        return Markdown("\n".join(lines))

    def _spread(self, backbone: str, runs: pd.DataFrame) -> list[str]:
        """What rounding has to work with: the chosen learning rates, and the error of values at the fewest bits."""
        after = runs[(runs["arm"] == "ptq") & (runs["codebook"] == self.parameters.across.settings.codebooks[0])]
        after = after[after["bits"] == after["bits"].min()]
        lines = []
        for name, group in after.groupby("compression", sort=False):
            rates = ", ".join(f"{rate:g}" for rate in sorted(set(group["learning_rate"])))
            lines.append(
                f"- {backbone}, {compressions.label(name)}: learning rate in full precision {rates}; error of values "
                f"at {across.label('full', None, int(group['bits'].iloc[0])).partition(',')[0]}, after training: "
                f"{group['rms'].mean():.3f} (root mean square, of a pixel's range)."
            )
        return lines

    def _at_equal_rates(self, backbone: str) -> list[str]:
        """Which comparisons with dense differ where all borders are trained at one learning rate."""
        lines, table = [], self.equal_rates()
        for rate, group in table[table["backbone"] == backbone].groupby("learning rate") if len(table) else []:
            differ = group[group["says"].str.contains("lower|higher")]
            names = [f"{r.metric}, {r.compression}, {r.prompt}: {r.says}" for r in differ.itertuples()]
            lines.append(
                f"- {backbone}, all at learning rate {rate}: of {len(group)} comparisons with dense, after training, "
                f"{len(differ)} differ ({'; '.join(names) or 'none'})."
            )
        return lines


def _bits(group: pd.DataFrame, word: str) -> str:
    found = group[group["words"].str.contains(word)]
    return ", ".join(across.label(*key) for key in found[ARM].itertuples(index=False)) or "none"


def _readable(table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "backbone": table["backbone"],
            "metric": table["panel"],
            "compression": table["compression"].map(compressions.label),
            "prompt": [across.label(*key) for key in table[ARM].itertuples(index=False)],
            "change [95 %]": [tables.interval_text(row, 4) for row in table.itertuples()],
            "replicates": table["replicates"],
            "says": table["words"],
        }
    )
