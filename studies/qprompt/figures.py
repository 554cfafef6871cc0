"""Figures of qprompt, from the report and the runs of one architecture."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from studies.claims.claim import ON
from studies.figures import dots, lines, panels, sentences, style
from studies.figures.sentences import Drawn
from studies.figures.tables import METRICS
from studies.qprompt import cell_figures
from studies.qprompt.claims import CONTROLS
from studies.qprompt.evidence import GROUPS
from studies.qprompt.labels import COOP, FEWEST, MULTIMODAL, ZERO_SHOT, Arm, in_words, qat, words
from studies.statistics import paired, summarise
from vpstudy.training.prompt_learning.registry import PROMPTERS

MEASURES = {"sigma": "σ of weights", "ks": "KS to start", "kl": "KL to stage before", "beyond_3": "share beyond 3 σ"}
BASELINE = ("zero_shot", "one")  # the prompt that learning starts from
WEIGHTS = 5  # arms in the figures of weights


def present(runs: pd.DataFrame) -> list[Arm]:
    """Every arm that was run, in registry order."""
    found = runs.drop_duplicates(["prompter", "arm"])
    order = [*PROMPTERS, *MULTIMODAL]
    return sorted(zip(found["prompter"], found["arm"], strict=True), key=lambda arm: order.index(arm[0]))


def learned(prompter: str) -> bool:
    return prompter not in MULTIMODAL and PROMPTERS[prompter].role == "published"


def summary(runs: pd.DataFrame, arms: Sequence[Arm], metric: str = "accuracy") -> pd.DataFrame:
    """Means by arm and group: row (label), panel (base, new and, for accuracy, H), group (target), bytes, arm."""
    groups = GROUPS if metric == "accuracy" else GROUPS[:2]
    keys = pd.MultiIndex.from_frame(runs[["prompter", "arm"]])
    kept = runs[keys.isin(arms) & runs["group"].isin(groups).to_numpy()]
    return labelled(summarise(kept, ["prompter", "arm", "group", "target", "bytes"], metric))


def labelled(table: pd.DataFrame) -> pd.DataFrame:
    """A table of `summarise` by prompter, arm, group and target in the words of `dots.draw`, base before new and H."""
    table = table.rename(columns={"group": "panel", "target": "group"})
    table["row"] = [words(arm) for arm in zip(table["prompter"], table["arm"], strict=True)]
    return table.sort_values("panel", key=lambda column: column.map(GROUPS.index), kind="stable")


def arms_figure(
    choose: Callable[[Any, list[Arm]], list[Arm]], title: str, note: str = "", metric: str = "accuracy"
) -> Callable[[Any, pd.DataFrame], Drawn | None]:
    """A figure of arms as dots, with a panel each for base, new and, for accuracy, H."""

    def draw(report, runs: pd.DataFrame) -> Drawn | None:
        there = present(runs)
        arms = [arm for arm in choose(report, there) if arm in there]
        if not arms:
            return None
        table = summary(runs, arms, metric)
        look = {"order": list(map(words, arms)), "bounds": (0.0, 1.0) if metric == "accuracy" else None}
        note_of_runs = f"{note} {panels.seeds_note(runs)}".strip()
        figure = dots.draw(by_target(table), METRICS[metric], title, note_of_runs, **look)
        return Drawn(figure, on_new(table, METRICS[metric]))

    return draw


def by_target(table: pd.DataFrame) -> pd.DataFrame:
    """Panels of a target each, if there are several: their levels are too far apart for one axis."""
    targets = list(dict.fromkeys(table["group"]))
    if len(targets) == 1:
        return table
    order = table["group"].map(targets.index).sort_values(kind="stable").index
    return table.assign(panel=table["panel"] + "\n" + table["group"], group="").loc[order]


def on_new(table: pd.DataFrame, what: str, say: Callable[[pd.DataFrame, str], str] = sentences.extremes) -> str:
    """A sentence about arms on new classes for each target; `table` as of `summary`."""
    new, several = table[table["panel"] == "new"], table["group"].nunique() > 1
    return " ".join(
        say(of, f"{what} on new classes" + f" of {target}" * several) for target, of in new.groupby("group", sort=False)
    )


def against(
    baseline: Arm, choose: Callable[[list[Arm]], list[Arm]], title: str, what: str, note: str = ""
) -> Callable[[Any, pd.DataFrame], Drawn | None]:
    """A figure of arms less the `baseline` on base, new and H, paired by network and seed."""

    def draw(report, runs: pd.DataFrame) -> Drawn | None:
        known = runs[(runs["prompter"] == baseline[0]) & (runs["arm"] == baseline[1])]
        there = present(runs)
        others = [arm for arm in choose(there) if arm in there and arm != baseline]
        if known.empty or not others:
            return None
        ours = runs[pd.MultiIndex.from_frame(runs[["prompter", "arm"]]).isin(others)]
        pairs = paired(ours, known, [*ON, "group"], "accuracy", keep=["prompter", "arm"])
        table = labelled(summarise(pairs, ["prompter", "arm", "group", "target"], "difference"))
        look = {"order": list(map(words, others)), "zero": True}
        figure = dots.draw(by_target(table), what, title, f"{note} {panels.seeds_note(runs)}".strip(), **look)
        return Drawn(figure, on_new(table, "accuracy", sentences.changes))

    return draw


def _gaining(arms: list[Arm]) -> list[Arm]:
    return [arm for arm in arms if learned(arm[0]) and arm[0] != BASELINE[0]]


def _no_controls(_, arms: list[Arm]) -> list[Arm]:
    return [arm for arm in arms if PROMPTERS[arm[0]].role != "control"]


def _codebooks(_, arms: list[Arm]) -> list[Arm]:
    changed = [arm for arm in arms if arm[0] == "quantizers"]
    bits = sorted({int(name.rpartition("-")[2]) for _, name in changed})
    return [arm for b in bits for arm in [qat(b), *(arm for arm in changed if arm[1].endswith(f"-{b}"))]]


def _explanations(arms: list[Arm]) -> list[Arm]:
    return [COOP, *CONTROLS, *(arm for arm in arms if arm[0] == "noise" and arm not in CONTROLS)]


def size(report, runs: pd.DataFrame) -> Drawn:
    """Accuracy against the bytes of the stored prompt, a line through the bits of one prompter."""
    stored = runs[(runs["bytes"] > 0) & runs["prompter"].map(learned)]
    table = summary(runs, list(zip(stored["prompter"], stored["arm"], strict=True)))
    table["target"], table["line"] = table["group"], table["group"] + f"\n{METRICS['accuracy']}"
    table["x"] = np.log2(table["bytes"].astype(float))
    table["group"] = [_kind(arm) for arm in zip(table["prompter"], table["arm"], strict=True)]
    kinds = list(dict.fromkeys(table["group"]))
    looks = {kind: style.look(k) | {"ls": "-" if "bits" in kind else ""} for k, kind in enumerate(kinds)}
    ticks = {float(k): f"{2**k:,}" for k in range(int(table["x"].min()), int(table["x"].max()) + 2, 2)}
    note = f"Lines: more bits from left to right. {panels.seeds_note(runs)}"
    title, shape = "Accuracy against the bytes of the stored prompt", {"height": 2.6, "dodge": 0, "sharey": False}
    figure = lines.draw(table, "bytes (log scale)", title, note, looks=looks, ticks=ticks, **shape)
    return Drawn(figure, on_new(table.assign(group=table["target"]), METRICS["accuracy"], _at_both_ends))


def _at_both_ends(table: pd.DataFrame, what: str) -> str:
    """A sentence about the smallest and the largest prompts."""
    reached = table.groupby("bytes")["mean"].agg(["min", "max"])
    said = [
        f"{low:.3f}" if f"{low:.3f}" == f"{high:.3f}" else f"{low:.3f} to {high:.3f}"
        for low, high in reached.to_numpy()
    ]
    least, most = (f"{size:,.0f} bytes" for size in (reached.index[0], reached.index[-1]))
    return f"{what[:1].upper()}{what[1:]}: {said[0]} with {least}, {said[-1]} with {most}."


def _kind(arm: Arm) -> str:
    """A prompter, or its variants that differ in bits."""
    kinds = {"ptq": "CoOp, then few bits", "qat": "QCoOp, few bits"}
    return kinds.get(arm[1].partition("-")[0], PROMPTERS[arm[0]].label)


def curves(report, runs: pd.DataFrame) -> Drawn | None:
    """Base and new over epochs, by noise level, bits and prompter."""
    frame = report.evidence[runs["backbone"].iloc[0]].curves
    frame = frame.assign(group=[words(arm) for arm in zip(frame["prompter"], frame["arm"], strict=True)])
    frame["group"] = frame["group"].str.replace(", (fresh|kept)$", "", regex=True)
    coop = frame["prompter"] == "coop"
    chosen = {
        "noise, fresh": frame["arm"].str.startswith("fresh-") | coop,
        "noise, kept": frame["arm"].str.startswith("fixed-") | coop,
        "bits": frame["prompter"].isin(["coop", "qcoop"]),
        "prompters": frame["prompter"].isin(["coop", "kgcoop", "prograd"]),
    }
    shown = [frame[of].assign(panel=name) for name, of in chosen.items() if frame.loc[of, "group"].nunique() > 1]
    if not shown:
        return None
    alone = report.parameters.qprompt.settings.cocoop.epochs
    note = "Means over runs. Diagnostics on test pictures: nothing is chosen on them. "
    if "cocoop" in set(runs["prompter"]):
        note += f"CoCoOp, with {alone} epochs, is left out."
    figure = cell_figures.over_epochs(pd.concat(shown), note.strip())
    first, last = (frame[coop & (frame["epoch"] == end(frame.loc[coop, "epoch"]))] for end in (min, max))
    of = ((first[group].mean(), last[group].mean()) for group in ("base", "new"))
    base, new = (f"{start:.3f} to {end:.3f}" for start, end in of)
    return Drawn(figure, f"Over training, CoOp goes from {base} on base and from {new} on new classes.")


def _of_weights(report, runs: pd.DataFrame) -> pd.DataFrame:
    frame = report.evidence[runs["backbone"].iloc[0]].weights
    frame = frame[frame["arm"].isin(list(dict.fromkeys(frame["arm"]))[:WEIGHTS])]
    return frame.assign(group=frame["arm"].map(in_words))


def weights(report, runs: pd.DataFrame) -> Drawn | None:
    """Statistics of the weights over training."""
    frame = _of_weights(report, runs)
    if frame.empty:
        return None
    looks = {label: style.look(k) | {"ls": "-", "ms": 3} for k, label in enumerate(dict.fromkeys(frame["group"]))}
    table = cell_figures.means_over(frame.assign(line=""), MEASURES, "panel").dropna(subset="mean")
    note = "Means over runs. Of quantized prompts, the full weights behind the codebook."
    title = "The weights of prompts over training"
    figure = lines.draw(table, "epoch", title, note, looks=looks, height=2.0, sharey=False)
    ends = frame[frame["epoch"] == frame["epoch"].max()].groupby("group")["sigma"].mean()
    most = f"{ends.idxmax()} ({ends.max():.3f})"
    return Drawn(
        figure, f"The deviation of weights ends highest for {most}, lowest for {ends.idxmin()} ({ends.min():.3f})."
    )


def histograms(report, runs: pd.DataFrame) -> Drawn | None:
    """Histograms of standardised weights at the first, middle and last stage, of the first source checkpoint."""
    frame, found = _of_weights(report, runs), {}
    for content in report.contents:
        found = content["facts"]["histograms"] | found
    rows = []
    for arm in (arm for arm in dict.fromkeys(frame["arm"]) if arm in found):
        counts, edges = found[arm]["counts"], np.array(found[arm]["edges"])
        epochs = sorted(counts, key=int)
        for epoch in (epochs[0], epochs[len(epochs) // 2], epochs[-1]):
            bins = zip((edges[1:] + edges[:-1]) / 2, counts[epoch], strict=True)
            rows += [{"panel": in_words(arm), "group": f"epoch {epoch}", "x": x, "mean": count} for x, count in bins]
    if not rows:
        return None
    table = pd.DataFrame(rows).assign(line="weights", low=np.nan, high=np.nan, n=1, n_diverged=0)
    groups = sorted(set(table["group"]), key=lambda group: int(group.split()[1]))
    looks = {
        group: {"color": style.COLOURS[k], "ls": ("-", "--", ":")[k % 3], "lw": 1} for k, group in enumerate(groups)
    }
    note = "Of one run. Of quantized prompts, the full weights behind the codebook."
    title = "Standardised weights of prompts over training"
    figure = lines.draw(table, "weight (σ)", title, note, looks=looks, height=1.8)
    ks = frame[frame["epoch"] == frame["epoch"].max()]["ks"]
    return Drawn(
        figure, f"At the end, distributions are {ks.min():.3f} to {ks.max():.3f} from the start (KS distance)."
    )


def few_shot(report, runs: pd.DataFrame) -> Drawn | None:
    """Every arm at each number of pictures, over all source checkpoints and seeds."""
    mine = _every_class(report, "few_shot", runs)
    if mine.empty:
        return None
    learned = mine[mine["budget"] != "0"]
    table = summarise(learned.assign(group=learned["budget"] + " a class"), ["arm", "group", "target"], "accuracy")
    table = table.rename(columns={"arm": "row", "target": "panel"})
    return Drawn(cell_figures.by_shots(mine), sentences.extremes(table, METRICS["accuracy"]))


def other_pictures(report, runs: pd.DataFrame) -> Drawn | None:
    """Every arm less CoOp on each kind of pictures, paired by network and seed."""
    mine = _every_class(report, "other_pictures", runs)
    if mine.empty:
        return None
    coop = in_words("full")
    known, others = mine[mine["arm"] == coop], mine[mine["arm"] != coop]
    pairs = paired(others, known, [*ON, "group"], "accuracy", keep=["arm"])
    table = summarise(pairs, ["group", "target", "arm"], "difference")
    table["group"] = table["group"].replace({"all": "as learned"})
    table = table.rename(columns={"group": "row", "target": "panel", "arm": "group"})
    title = f"Pictures that prompts did not learn from: each less {coop}"
    figure = dots.draw(table, "difference in test accuracy", title, panels.seeds_note(mine), zero=True)
    return Drawn(figure, sentences.changes(table[table["group"] != ZERO_SHOT], f"accuracy from {coop}"))


def _every_class(report, name: str, runs: pd.DataFrame) -> pd.DataFrame:
    """Runs of a stage of prompts for every class, of the architecture of `runs`, with arms in words."""
    mine = report.every_class[name]
    mine = mine[mine["backbone"] == runs["backbone"].iloc[0]]
    return mine.assign(arm=mine["arm"].map(lambda arm: arm if arm == ZERO_SHOT else in_words(arm)))


def multimodal(report, runs: pd.DataFrame) -> Drawn:
    """MaPLe and QMaPLe, or their text sides: base, new, and H."""
    table = summary(runs, present(runs))
    order = [words(arm) for arm in dict.fromkeys(zip(runs["prompter"], runs["arm"], strict=True))]
    both = "maple" in set(runs["prompter"])
    title = "MaPLe and QMaPLe: base, new, and H" if both else "Deep text prompts: base, new, and H"
    note = panels.seeds_note(runs)
    figure = dots.draw(by_target(table), METRICS["accuracy"], title, note, bounds=(0.0, 1.0), order=order)
    return Drawn(figure, sentences.extremes(table[table["panel"] == "H"], "H"))


NOISE = "Noise in σ, deviations of the initial prompt."
CHANGED = "Changed in one thing against QCoOp with as many bits."
FIGURES = {
    "prompters_accuracy": arms_figure(_no_controls, "Base, new, and their harmonic mean H"),
    "gains": against(BASELINE, _gaining, f"Gain over the prompt that is {words(BASELINE)}", "gain in test accuracy"),
    "size": size,
    "curves": curves,
    "weights": weights,
    "histograms": histograms,
    "codebooks": arms_figure(_codebooks, "Other codebooks", CHANGED),
    "controls": against(
        qat(FEWEST), _explanations, "Noise, or staying near the start? Each less QCoOp, 1 bit", "difference", NOISE
    ),
    "few_shot": few_shot,
    "other_pictures": other_pictures,
    "multimodal": multimodal,
    "prompters_ece_debiased": arms_figure(_no_controls, "Calibration on base and new", metric="ece_debiased"),
}
