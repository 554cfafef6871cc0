"""Screening of targets: does a linear probe on them notice that the network was harmed?

Where Gaussian noise is added to the weights of a dense network, in growing steps, a target *responds* if the accuracy
of its probe, the mean over networks, falls at every step, and by `fall` or more in all. Claims are judged on targets
that respond: on others a network may be broken unseen. No prompt and no compression has a part in it. The probe has:
a target where probes are sensitive counts against H5 and H9, which ask whether a prompt loses more than a probe.
"""

import pandas as pd

from studies.claims.claim import NETWORK
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
    """Whether each target that was screened responds; targets without noise are not in it.

    Networks with a level at which no probe finished are left out; without any network, a target does not respond.
    """
    table = probed(runs)
    noisy = table[table["level"] > 0]
    done = table[(table["status"] == "ok") & table["target"].isin(noisy["target"])]
    levels = [0.0, *sorted(noisy["level"].unique())]
    verdicts = dict.fromkeys(noisy["target"], False)
    if len(done):
        networks = done.pivot_table("accuracy", ["target", *NETWORK], "level").reindex(columns=levels).dropna()
        means = networks.groupby("target").mean()
        falls = (means.diff(axis=1).iloc[:, 1:] < 0).all(axis=1) & (means[0.0] - means[levels[-1]] >= fall)
        verdicts |= {target: bool(fell) for target, fell in falls.items()}
    return verdicts


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
        "Gaussian noise on the dense network's convolutions and linear layers but the last. A target responds if the "
        f"mean over all networks falls at every step{f', and by {fall} or more in all' if fall else ''}. "
        f"{'Claims leave out those that do not' if fall else 'Claims leave out none here'}. {panels.seeds_note(table)}"
    )
    x, title = "noise (% of the spread of a layer's weights)", "Does a target notice a harmed network?"
    figure = lines.draw(shown, x, title, note, looks=looks, ticks=ticks, height=2.4)
    says = {True: "responds", False: "does not respond"}
    words = (f"{target} {says[answer]}" for target, answer in verdicts.items())
    return Drawn(figure, f"Under weight noise: {'; '.join(words)}.")
