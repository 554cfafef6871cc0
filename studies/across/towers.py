"""Text prompts on compressed towers: effects, figure and tables.

No paper claims anything here. What *compression costs* a prompt is its accuracy on the compressed tower minus that on
the dense one. Whether *few bits cost more* there is (QCoOp − CoOp) on the compressed tower minus the same on the dense
one. Both are paired by network, target and seed; replicates and words are those of `studies/across/effects.py`.
"""

from collections.abc import Iterable

import pandas as pd
from matplotlib.ticker import MaxNLocator

from studies.across import effects
from studies.across.settings import TEXT, of_text
from studies.figures import compressions, dots, panels, style, tables
from studies.figures.sentences import Drawn
from studies.qprompt.evidence import with_harmonic_mean

COST, MORE = "compressed − dense", "QCoOp − CoOp, compressed − dense"  # comparisons
IN_FULL = {"one": "hand-written", "full": "CoOp"}


def label(arm: str, bits: int) -> str:
    """Label of an arm, such as `QCoOp, 1 bit`."""
    return IN_FULL.get(arm) or f"QCoOp, {bits} bit{'s' if bits > 1 else ''}"


def compression_label(name: str) -> str:
    """Label of a compression, such as `W8A8`, or `text tower, W8A8`."""
    inner = of_text(name)
    return f"text tower, {compressions.label(inner)}" if inner else compressions.label(name)


def ordered(names: Iterable[str]) -> list[str]:
    """Distinct compressions: those of the image tower from mild to severe, then those of the text tower."""
    every = {*names}
    texts = {name for name in every if of_text(name)}
    return compressions.ordered(every - texts) + [TEXT + name for name in compressions.ordered(map(of_text, texts))]


def with_h(frame: pd.DataFrame) -> pd.DataFrame:
    """Results with rows for H. An arm is "one" (hand-written words), "full" (CoOp) or "qat" (QCoOp), with its bits."""
    whole = pd.concat([with_harmonic_mean(of) for _, of in frame.groupby("compression", sort=False)], ignore_index=True)
    bits = whole["bits"].astype(float).fillna(32).astype(int)
    return whole.assign(arm=whole["arm"].str.partition("-")[0], bits=bits, codebook="clustered")


def table(runs: pd.DataFrame) -> pd.DataFrame:
    """`effects.effects` of both comparisons by backbone and group (base, new, H), on accuracy."""
    rows = []
    for (backbone, group), of in runs.groupby(["backbone", "group"], sort=False):
        learned = effects.changes(of[of["arm"] != "one"], "accuracy")
        compared = {COST: of.assign(value=of["accuracy"].astype(float)), MORE: learned}
        rows += [
            effects.effects(effects.interactions(values)).assign(backbone=backbone, group=group, comparison=name)
            for name, values in compared.items()
        ]
    return pd.concat(rows, ignore_index=True)


def on_compressed(report, runs: pd.DataFrame) -> Drawn:
    """A panel per arm for what compression costs it, and one per number of bits for whether they cost more."""
    found = report.effects[report.effects["backbone"] == runs["backbone"].iloc[0]]
    if found.empty:
        raise LookupError("nothing to compare with dense")
    found = found.sort_values("comparison", key=lambda names: names == MORE, kind="stable")
    costs = found["comparison"] == COST
    arms = [label(arm, bits) for arm, bits in zip(found["arm"], found["bits"], strict=True)]
    titles = [f"(a) {arm}" if cost else f"(b) {arm[7:]} − CoOp" for arm, cost in zip(arms, costs, strict=True)]
    shown = found.assign(panel=titles, row=found["group"], group=found["compression"].map(compression_label))
    named = [compression_label(name) for name in ordered(found["compression"])]
    looks = {name: style.look(k) for k, name in enumerate(named)}
    note = "(a) Accuracy with the compressed tower less that with the dense one, in pairs of a network and a seed. (b) "
    note += "The same of QCoOp less CoOp: left of zero, few bits cost more with the compressed tower. "
    note += f"Panels have scales of their own. {panels.seeds_note(runs)}"
    title = "Text prompts on compressed towers"
    figure = dots.draw(shown, "change of accuracy", title, note, zero=True, looks=looks)
    for axis in figure.axes:
        axis.xaxis.set_major_locator(MaxNLocator(3))  # narrow panels
    on_h = shown[shown["row"] == "H"]
    coop, more = on_h[on_h["panel"] == "(a) CoOp"], on_h[on_h["comparison"] == MORE]
    said = f"Compression changes H of CoOp by {_between(coop)}; what few bits change in H differs from dense by "
    return Drawn(figure, f"{said}{_between(more)}{_zeros(more)}.")


def _between(of: pd.DataFrame) -> str:
    """The least and the greatest mean, with their compressions."""
    rows = [of.loc[of["mean"].idxmin()], of.loc[of["mean"].idxmax()]][: of["group"].nunique()]
    return " to ".join(f"{row['mean']:+.3f} ({row['group']})" for row in rows)


def _zeros(of: pd.DataFrame) -> str:
    known = of[of["low"].notna()]
    hold = int(((known["low"] <= 0) & (known["high"] >= 0)).sum())
    return f", and {hold} of {len(known)} intervals contain zero" if len(known) else ""


def text_effects(report) -> pd.DataFrame:
    """Every effect, with its words."""
    of = report.effects
    readable = {
        "backbone": of["backbone"],
        "comparison": of["comparison"],
        "on": of["group"],
        "compression": of["compression"].map(compression_label),
        "prompt": [label(arm, bits) for arm, bits in zip(of["arm"], of["bits"], strict=True)],
        "change [95 %]": [tables.interval_text(row) for row in of.itertuples()],
        "replicates": of["replicates"],
        "says": of["words"],
    }
    return pd.DataFrame(readable)


def text_results(report) -> pd.DataFrame:
    """Accuracy and calibration of every arm, and the cosine of the compressed tower's features to dense's."""

    def words(row) -> dict[str, str]:
        of = {"backbone": row.backbone, "target": row.target, "compression": compression_label(row.compression)}
        of |= {"features: cosine to dense": f"{row.similarity:.4f}"}
        return of | {"prompt": label(row.arm, row.bits), "on": row.group}

    by, is_h = ["backbone", "target", "compression", "similarity", "arm", "bits", "group"], report.alone["group"] == "H"
    both = {False: tables.USUAL, True: ("accuracy",)}  # H is of accuracy alone
    return pd.concat([tables.results(report.alone[is_h == h], by, words, both[h]) for h in both]).fillna("—")


FIGURES = {"on_compressed": on_compressed}
TABLES = {"text_effects": text_effects, "text_results": text_results}
