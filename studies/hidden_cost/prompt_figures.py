"""Figures of hidden_cost on what was learned: prompts, label mappings, and what a prompt adds to its mapping."""

from itertools import product

import numpy as np
import pandas as pd
from PIL import Image

from studies import results
from studies.figures import compressions, dots, panels, pictures, sentences, style
from studies.figures.sentences import Drawn
from studies.statistics import paired, summarise
from vpstudy.data.target import load as load_target

MOST_ROWS = 12  # of a label mapping: a target may have a hundred classes
RUN = ["source_seed", "target", "budget", "seed", "compression"]


def prompt_gain(report, runs: pd.DataFrame) -> Drawn | None:
    """What the prompt adds to the label mapping: visual prompting minus the mapping alone, by compression."""
    prompted, mapped = (runs[runs["method"] == name] for name in ("visual_prompting", "mapping_only"))
    pairs = paired(prompted, mapped, RUN, "accuracy")
    if pairs.empty:
        return None
    table = summarise(pairs, ["target", "budget", "compression"], "difference")
    table = table.assign(
        row=table["compression"].map(compressions.short_label),
        panel=table["target"],
        group=table["budget"].map(style.budget_label),
    )
    looks = {style.budget_label(b): style.look(k) for k, b in enumerate(style.budgets(table["budget"]))}
    note = f"Test accuracy with a learned prompt less that of the mapping alone, in pairs. {panels.seeds_note(runs)}"
    order = list(map(compressions.short_label, compressions.ordered(table["compression"])))
    title = "What does the prompt add to its label mapping?"
    figure = dots.draw(table, "gain in test accuracy", title, note, zero=True, order=order, looks=looks)
    return Drawn(figure, sentences.changes(table, "test accuracy by the prompt"))


def _first_prompted(runs: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Visual prompting runs at the largest budget with the first seeds, and a note on them."""
    runs, budget = panels.at_largest_budget(runs[runs["method"] == "visual_prompting"])
    runs = runs[runs["source_seed"] == runs["source_seed"].iloc[0]]
    return runs[runs["seed"] == runs["seed"].iloc[0]], f"{budget} Seed {runs['seed'].iloc[0]}."


def prompts(report, runs: pd.DataFrame) -> Drawn:
    """Learned prompts, targets × compressions, of the first source checkpoint and seed."""
    runs, which = _first_prompted(runs)
    first, shown = runs["backbone"].iloc[0], compressions.shown(runs["compression"])
    status = runs.set_index(["target", "compression"])["status"]
    found = {}
    for cell in report.cells:
        axes, path = dict(cell.axes), results.prompt_path(cell)
        if axes["backbone"] == first and path.exists():
            found[axes["target"], axes["compression"]] = np.moveaxis(np.asarray(Image.open(path)), 2, 0)
    drawn = {}
    for target, name in product(dict.fromkeys(runs["target"]), shown):
        state = status.get((target, name), "not run")
        picture = found.get((target, name), "no picture") if state == "ok" else state
        drawn[target, compressions.short_label(name)] = picture
    note = f"{which} Training starts from mid-grey."
    if report.parameters.hidden_cost.settings.visual_prompting.prompt == "border":
        note += " The picture's place is black."
    return Drawn(pictures.table(drawn, "The learned prompts", note), f"{len(drawn)} prompts, one for each cell.")


def label_mapping(report, runs: pd.DataFrame) -> Drawn:
    """A row per class of the first target: an example, then one of its source class under each compression."""
    section = report.parameters.hidden_cost
    target, size = section.axes.targets[0], section.settings.visual_prompting.canvas
    runs, which = _first_prompted(runs[runs["target"] == target])
    loaded, backbone = load_target(target, size, report.parameters.pictures), runs["backbone"].iloc[0]
    sources = {c["cell"]["backbone"]: c["facts"]["source_classes"] for c in report.contents}
    found = {(row.compression): row for row in runs.itertuples()}
    drawn, captions, marked, moved = {}, {}, set(), {}
    for k, name in enumerate(loaded.class_names[:MOST_ROWS]):
        row = style.printable(name, f"class {k}")
        drawn[row, "target"] = loaded.pictures[int((loaded.labels == k).nonzero()[0])]
        for compression in compressions.shown(found):
            run, key = found[compression], (row, compressions.short_label(compression))
            if run.status != "ok":
                drawn[key] = run.status
                continue
            if "evidence" in runs and not run.evidence[k]:
                drawn[key] = pictures.NO_EVIDENCE
                continue
            source = sources[backbone][run.mapping[k]]
            drawn[key], captions[key] = pictures.of_source(style.printable(source, f"class {run.mapping[k]}"), size)
            if "dense" in found and found["dense"].status == "ok" and run.mapping[k] != found["dense"].mapping[k]:
                marked.add(key)
                moved[compression] = moved.get(compression, 0) + 1
    some = f" {MOST_ROWS} of {len(loaded.class_names)} classes." if len(loaded.class_names) > MOST_ROWS else ""
    note = f"Visual prompt. {which}{some} Bold and coloured: another source class than on the dense backbone."
    title = f"Label mapping of {target}: the source class that stands for each target class"
    figure = pictures.table(drawn, title, note, captions=captions, marked=marked, tallest=0.55)
    rows = len({row for row, _ in drawn})
    words = "; ".join(f"{compressions.short_label(name)}: {n}" for name, n in moved.items()) or "none"
    return Drawn(figure, f"Of the {rows} classes shown, mapped otherwise than on the dense backbone: {words}.")
