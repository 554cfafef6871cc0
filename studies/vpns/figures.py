"""Figures of vpns, from the report and the runs of one architecture."""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from studies import results
from studies.figures import dots, lines, panels, pictures, reliability, sentences, style
from studies.figures.sentences import Drawn
from studies.figures.tables import METRICS
from studies.statistics import first_network, summarise
from studies.vpns import cell_figures, tables
from studies.vpns.evidence import Arm, VpnsEvidence, arm, changes, percent, select, words
from vpstudy.training.mask_search.methods import CONTROLS, METHODS

SHOWN = ("dense", "omp", "hydra", "vpns")  # in reliability diagrams
WITHOUT = "Measured without the prompt."
STRUCTURED = {"macs": ("MACs (millions)", 1e6), "parameters": ("parameters (thousands)", 1e3)}


def _methods(runs: pd.DataFrame, *roles: str) -> list[Arm]:
    """Main arms of the methods of these roles that were run, then their published arms."""
    mains = [arm(name) for name in tables.methods(runs, *roles)]
    others = [arm(name, "published") for name, *_ in mains]
    return mains + [each for each in others if len(select(runs, each))]


def _everything(runs: pd.DataFrame) -> list[Arm]:
    arms = _methods(runs, "baseline")
    for name in tables.methods(runs, "vpns", "control"):
        arms += [arm(name), arm(name, view="prompted")] if METHODS[name].prompted != "never" else [arm(name)]
    return arms


def _controlled(needed: str, names: Sequence[str], *roles: str) -> Callable[[pd.DataFrame], list[Arm]]:
    """The arms `names` of each method that were run; none if the control `needed` was not run."""

    def arms(runs: pd.DataFrame) -> list[Arm]:
        each = [arm(pruner, name) for pruner in tables.methods(runs, *roles) for name in names]
        return [one for one in each if len(select(runs, one))] if needed in set(runs["arm"]) else []

    return arms


def _source_masks(runs: pd.DataFrame) -> list[Arm]:
    return [arm(name, "source_mask") for name in CONTROLS["source_mask"].methods]


def _ablations(runs: pd.DataFrame) -> list[Arm]:
    changed = tables.methods(runs, "ablation")
    return [arm(name) for name in ("vpns", *changed, "vpns_no_prompt")] if changed else []


def _labelled(runs: pd.DataFrame, arms: Sequence[Arm]) -> pd.DataFrame:
    """The runs of some arms, with their label in the column `row`."""
    frames = [select(runs, each).assign(row=words(each)) for each in arms]
    return pd.concat(frames) if frames else runs.iloc[:0].assign(row="")


def _arms(
    choose: Callable[[pd.DataFrame], list[Arm]], title: str, note: str, metric: str = "accuracy", all_: bool = False
) -> Callable[[Any, pd.DataFrame], Drawn | None]:
    """A figure of arms by sparsity, with dense as a line; only the control sparsities and 0 unless `all_`."""

    def draw(report, runs: pd.DataFrame) -> Drawn | None:
        arms = choose(runs)
        chosen = _labelled(runs, arms)
        if not all_:
            chosen = chosen[chosen["sparsity"].isin([0.0, *report.settings.control_sparsities])]
        if chosen.empty:
            return None
        table = summarise(chosen, ["row", "target", "sparsity"], metric).sort_values("sparsity", kind="stable")
        table = table.assign(panel=table["target"], group=table["sparsity"].map(percent))
        dense = select(runs, arm("dense"))
        look = {"levels": dense.groupby("target")[metric].mean().to_dict(), "level_label": "dense, fine-tuned"}
        look |= {"order": list(map(words, arms)), "bounds": (0, 1) if metric == "accuracy" else None}
        figure = dots.draw(table, METRICS[metric], title, f"{note} {panels.seeds_note(chosen)}", **look)
        return Drawn(figure, sentences.extremes(table, METRICS[metric]))

    return draw


def _changes(runs: pd.DataFrame, table: pd.DataFrame, axis: str, title: str, note: str) -> Drawn | None:
    if table.empty:
        return None
    note = f"{note} {panels.seeds_note(runs.assign(status='ok'))} Pairs share a source checkpoint, a target and a seed."
    if table["n_diverged"].any():
        note += " ✕: so many pairs are left out, as a run diverged, or the other network gives one answer to all."
    return Drawn(dots.draw(table, axis, title, note, zero=True), sentences.changes(table, "accuracy"))


def gains(report, runs: pd.DataFrame) -> Drawn | None:
    """Paired gains from HYDRA to VPNs, one change at a time."""
    evidence = VpnsEvidence(runs)
    found = [changes(evidence, tables.STEPS, key).assign(panel=METRICS[key]) for key in ("accuracy", "ece_debiased")]
    drawn = _changes(
        runs, pd.concat(found), "change", "From HYDRA to VPNs, one change at a time", "Means over targets."
    )
    return drawn and drawn._replace(sentence=sentences.changes(found[0], "accuracy"))


def against(report, runs: pd.DataFrame) -> Drawn | None:
    """VPNs minus every other method, paired."""
    pairs = [(words(other), arm("vpns"), other) for other in _methods(runs, "dense", "baseline", "control")]
    table = changes(VpnsEvidence(runs), pairs, by_target=True).assign(panel=lambda table: table["target"])
    title = "VPNs against every other method"
    return _changes(runs, table, "accuracy of VPNs less that of …", title, "Right of zero: VPNs are better.")


def cost(report, runs: pd.DataFrame) -> Drawn:
    """Passes over a batch and accuracy of every method."""
    every = _labelled(runs, _methods(runs, "dense", "baseline", "vpns", "control"))
    every = every[every["status"] == "ok"]
    passes = summarise(every, ["row", "sparsity"], "passes").assign(panel="passes over a batch")
    accuracy = summarise(every, ["row", "sparsity", "target"], "accuracy")
    accuracy = accuracy.assign(panel=accuracy["target"] + ": accuracy")
    table = pd.concat([passes, accuracy]).sort_values("sparsity", kind="stable")
    table = table.assign(group=table["sparsity"].map(percent))
    order = list(dict.fromkeys(passes.sort_values("mean", kind="stable")["row"]))
    note = f"A pass is forward and backward over one batch; finding and tuning together. {panels.seeds_note(every)}"
    figure = dots.draw(table, "", "What a mask costs to find, and what it is worth", note, order=order)
    few, most = (passes.loc[which] for which in (passes["mean"].idxmin(), passes["mean"].idxmax()))
    return Drawn(figure, f"From {few['mean']:.0f} passes ({few['row']}) to {most['mean']:.0f} ({most['row']}).")


def layers(report, runs: pd.DataFrame) -> Drawn | None:
    """Share of weights left in each layer of the first network by method, at each sparsity."""
    left = {sparsity: tables.layers(report, runs, sparsity) for sparsity in report.settings.sparsities}
    left = {f"{percent(sparsity)} pruned": table for sparsity, table in left.items() if len(table)}
    if not left:
        return None
    empty = {title: int((table == 0).any(axis=1).sum()) for title, table in left.items()}
    said = "; ".join(f"{title}: {n} of {len(left[title])}" for title, n in empty.items())
    return Drawn(cell_figures.heat_map(left, first_network(runs)), f"Methods that empty a whole layer: {said}.")


def channels(report, runs: pd.DataFrame) -> Drawn | None:
    """Structured pruning: accuracy against MACs and parameters."""
    names = tables.methods(runs, "channels")
    chosen = _labelled(runs, [arm(name) for name in ("dense", *names)])
    if not names:
        return None
    by = ["target", "pruner", "sparsity"]
    table = summarise(chosen, by, "accuracy").merge(tables.sizes(report.contents), on=by)
    table = table.assign(line=table["target"] + f"\n{METRICS['accuracy']}")
    table["group"] = table["pruner"].map(lambda name: METHODS[name].label)
    looks = {METHODS[name].label: style.look(k) for k, name in enumerate(("dense", *names))}
    relative = [table.assign(panel=words, x=table[key] / table[key].max()) for key, (words, _) in STRUCTURED.items()]
    most = ", ".join(f"{table[key].max() / unit:.1f} {words}" for key, (words, unit) in STRUCTURED.items())
    note = f"The networks are smaller in fact. 1 is dense: {most}. {panels.seeds_note(chosen)}"
    title, x = "Channels removed: accuracy against cost", "share of dense"
    figure = lines.draw(pd.concat(relative, ignore_index=True), x, title, note, looks=looks, height=2.1)
    table = table.assign(row=table["group"], panel=table["target"], group=table["sparsity"].map(percent))
    return Drawn(figure, sentences.extremes(table, METRICS["accuracy"]))


def prompts(report, runs: pd.DataFrame) -> Drawn | None:
    """Learned prompts of the first seed and source checkpoint, at the highest sparsity."""
    found = {}
    for cell in report.cells:
        axes, place = dict(cell.axes), results.prompt_path(cell)
        if axes["backbone"] != first_network(runs):
            continue
        if METHODS[axes["pruner"]].prompted != "never" and place.exists():
            picture = np.moveaxis(np.asarray(Image.open(place)), 2, 0)
            found.setdefault((axes["target"], METHODS[axes["pruner"]].label), picture)
    if not found:
        return None
    note = f"{first_network(runs)}. What is added to a picture, on grey. Training starts from nothing."
    return Drawn(pictures.table(found, "The learned prompts", note), f"{len(found)} of the cells learn a prompt.")


def reliability_diagrams(report, runs: pd.DataFrame) -> Drawn:
    """Reliability of the methods in `SHOWN` at the first control sparsity, seeds pooled."""
    sparsity = (report.settings.control_sparsities or report.settings.sparsities)[0]
    names, evidence = [name for name in SHOWN if name in set(runs["pruner"])], VpnsEvidence(runs)
    diagrams: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for target, name in product(dict.fromkeys(runs["target"]), names):
        of = evidence.of(arm(name), sparsity)
        of = of[(of["target"] == target) & (of["status"] == "ok")]
        diagrams.setdefault(target, {})[METHODS[name].label] = of.to_dict("records")
    figure = reliability.draw(diagrams, "Reliability of pruned networks", f"Pruned: {percent(sparsity)}.")
    kept = pd.concat([evidence.of(arm(name), sparsity) for name in names])
    table = summarise(kept, ["target", "pruner"], "ece_debiased").rename(columns={"target": "panel"})
    table["row"] = table["pruner"].map(lambda name: METHODS[name].label)
    return Drawn(figure, sentences.extremes(table, METRICS["ece_debiased"]))


STEPS_NOTE = "Every method takes as many gradient steps; OMP and IMP as published take more."
TWO_PASSES, AFTER = ("main", "two_pass", "prompted"), ("untouched", "bn", "prompt_only", "main", "prompt_after")
FIGURES = {
    "methods_accuracy": _arms(_everything, "Accuracy of pruned networks", STEPS_NOTE, all_=True),
    "against": against,
    "gains": gains,
    "methods_ece_debiased": _arms(
        _everything, "Calibration of pruned networks", STEPS_NOTE, metric="ece_debiased", all_=True
    ),
    "reliability": reliability_diagrams,
    "cost": cost,
    "prompts_in_tuning": _arms(
        _controlled("prompted", TWO_PASSES, "dense", "baseline"), "Prompts in the tuning of other methods", WITHOUT
    ),
    "prompts_after": _arms(
        _controlled("prompt_only", AFTER, "baseline"),
        "Prompts after pruning",
        "A prompt is learned alone and measured in place.",
    ),
    "source_masks": _arms(_source_masks, "Masks found on the source task", "Each tuned on the target, as its own are."),
    "ablations": _arms(_ablations, "VPNs, changed in one thing", WITHOUT),
    "channels": channels,
    "layers": layers,
    "prompts": prompts,
}
