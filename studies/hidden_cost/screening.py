"""Screening of targets: does a linear probe on them notice that the network was harmed?

Where Gaussian noise is added to the weights of a dense network, in growing steps, a target *responds* if the accuracy
of its probe, the mean over networks, falls at every step, and by `fall` or more in all. Claims are judged on targets
that respond: on others a network may be broken unseen. Neither a prompt nor a compression has a part in it.
"""

import pandas as pd

from studies.figures import lines, panels, style
from studies.figures.sentences import Drawn
from studies.statistics import summarise
from vpstudy.compression.registry import parse

METHOD = "linear_probe"


def is_noise(runs: pd.DataFrame) -> pd.Series:
    """Which rows have a network that was harmed on purpose (bool, same index)."""
    return runs["compression"].map(lambda name: parse(name).screens).astype(bool)


def probed(runs: pd.DataFrame) -> pd.DataFrame:
    """Probes on noisy networks and on dense ones at the same budget, with `level`, the noise; empty without noise."""
    noisy = runs[is_noise(runs)]
    dense = runs[(runs["compression"] == "dense") & (runs["method"] == METHOD)]
    dense = dense[dense["budget"].isin(noisy["budget"])]
    levels = noisy["compression"].map(lambda name: parse(name).level)
    return pd.concat([dense.assign(level=0.0), noisy.assign(level=levels.astype(float))], ignore_index=True)


def responds(runs: pd.DataFrame, fall: float) -> dict[str, bool]:
    """Whether each target that was screened responds; targets that were not are not in it."""
    table = probed(runs)
    if not (table["level"] > 0).any():
        return {}
    means = table[table["status"] == "ok"].pivot_table("accuracy", "target", "level", sort=True)
    steps = means.diff(axis=1).iloc[:, 1:]
    falls = (steps < 0).all(axis=1) & (means.iloc[:, 0] - means.iloc[:, -1] >= fall)
    return {target: bool(falls.get(target, False)) for target in dict.fromkeys(table["target"])}


def draw(report, runs: pd.DataFrame) -> Drawn | None:
    """Accuracy of the probe against the noise, a line per target, and which targets respond."""
    fall = report.parameters.hidden_cost.screening.fall
    table, verdicts = probed(report.noisy[report.noisy["backbone"] == runs["backbone"].iloc[0]]), report.responds
    if not verdicts or table.empty:
        return None
    targets = panels.names(table, "target")
    shown = summarise(table, ["target", "level"], "accuracy")
    shown = shown.assign(x=shown["level"], line="test accuracy of the probe", panel="", group=shown["target"])
    looks = {target: style.look(k) | {"ls": "-"} for k, target in enumerate(targets)}
    ticks = {level: f"{100 * level:.0f}" for level in sorted(table["level"].unique())}
    note = (
        "Gaussian noise on every weight of the dense network but those of its classifier. A target responds if the "
        f"mean falls at every step, and by {fall} or more in all. "
        f"{'Claims leave out those that do not' if fall else 'Claims leave out none here'}. {panels.seeds_note(table)}"
    )
    x, title = "noise (% of the spread of a layer's weights)", "Does a target notice a harmed network?"
    figure = lines.draw(shown, x, title, note, looks=looks, ticks=ticks, height=2.4)
    says = {True: "responds", False: "does not respond"}
    words = (f"{target} {says[answer]}" for target, answer in verdicts.items())
    return Drawn(figure, f"Under weight noise: {'; '.join(words)}.")
