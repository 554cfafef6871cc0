"""The forest plot: every claim's effect with its interval, beside the smallest effect of interest."""

import textwrap
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from studies.figures import style

LOOKS = {  # verdict: colour, marker
    "reproduced": ("#009E73", "s"),
    "contradicted": ("#D55E00", "X"),
    "inconclusive": ("#0072B2", "o"),
}
MOST = 6  # findings of one claim
NEAR, FAR = 5, 25  # effects beyond FAR make the axis logarithmic beyond NEAR
WIDTH = 52  # of a label, in characters
TARGETS = "v^<>dhp"  # a marker for each target


def draw(records: Sequence[dict[str, Any]], paper: str) -> Figure:
    """A row for each finding that decides a claim, in units of the claim's smallest effect of interest.

    Of many findings, those with the largest p values. Right of zero is the published direction; of an equivalence claim
    it is what is worse, or more. Small markers are single targets; a finding without comparable runs has no marker.

    Parameters
    ----------
    records
        Of one study in a ledger. Claims without a finding, and why, are named below the axis.
    paper
        That makes the claims.
    """
    rows = [(record, found) for record in records for found in _least_favourable(record)]
    missing: dict[str, list[str]] = {}
    for record in records:
        if not record["findings"]:
            missing.setdefault(record["verdict"], []).append(record["id"])
    targets = list(dict.fromkeys(target for _, found in rows for target in found["targets"]))
    figure, ((axis,),) = style.new_figure(1, 1, 1.7 + 0.42 * max(len(rows), 1))
    axis.axvline(0, color="black", lw=0.8)
    axis.axvspan(-1, 1, color="0.93", lw=0, zorder=0)
    for y, (record, found) in enumerate(rows):
        unit = (record["direction"] or 1) * record["smallest_effect"]
        colour, marker = LOOKS[record["verdict"]]
        for k, target in enumerate(targets):
            if target in found["targets"]:
                value = found["targets"][target]["effect"] / unit
                axis.plot([value], [y + 0.25], TARGETS[k % len(TARGETS)], color="0.45", ms=4, mew=0)
        if found["effect"] is None:
            axis.text(0.03, y, "no comparable runs", color=style.GREY, va="center", size=7)
            continue
        mean = found["effect"] / unit
        if found["low"] is not None:
            ends = sorted((found["low"] / unit, found["high"] / unit))
            axis.plot(ends, [y, y], color=colour, lw=2)
        axis.plot([mean], [y], marker, color=colour, ms=7)
    far = max((abs(end) for end in axis.get_xlim()), default=0)
    beyond = ""
    if far > FAR:  # a few huge effects must not squeeze all others into a line
        axis.set_xscale("symlog", linthresh=NEAR)
        beyond = f"; log scale from {NEAR} on"
        (low, high), steps = axis.get_xlim(), (2, 5, 10, 20, 50, 100, 200)
        ticks = [tick for tick in (*(-step for step in reversed(steps)), 0, *steps) if low < tick < high]
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.minorticks_off()
    labels = [_label(record, found) for record, found in rows]
    axis.set_yticks(range(len(rows)), labels)
    axis.set_ylim(max(len(rows), 1) - 0.5, -0.5)
    axis.grid(False, axis="y")
    axis.set_xlabel(
        f"effect, in smallest effects of interest (grey: less{beyond})\n"
        "→ published direction (of what should not happen: worse, or more)"
    )
    handles = [Line2D([], [], color=c, marker=m, label=verdict) for verdict, (c, m) in LOOKS.items()]
    handles += [
        Line2D([], [], ls="", marker=TARGETS[k % len(TARGETS)], color="0.45", label=target)
        for k, target in enumerate(targets)
    ]
    handles.append(Patch(color="0.93", label="too small to matter"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    note = (
        "Large markers: over targets, with 95 % t intervals, in the colour of the claim's verdict, which rests on "
        "all of its findings; small ones: single targets."
    )
    for verdict, names in missing.items():
        note += f" {verdict.capitalize()}: {', '.join(names)}."
    if any(len(record["findings"]) > MOST for record in records):
        note += f" Of claims with more findings, the {MOST} least favourable."
    style.caption(figure, f"The claims of {paper}", note)
    return figure


def _least_favourable(record: dict[str, Any]) -> list[dict[str, Any]]:
    found = record["findings"]
    if len(found) <= MOST:
        return found
    return sorted(found, key=lambda each: -each["p"])[:MOST]


def _label(record: dict[str, Any], found: dict[str, Any]) -> str:
    """The claim and what was compared, on as many lines as that takes; the unit where the label does not say it."""
    measured, unit = found["label"].removesuffix(f", {record['unit']}"), record["unit"]
    told = record["study"] != "hidden_cost" and unit == "accuracy"  # as nearly all claims of the others are
    return textwrap.fill(f"{record['id']}: " + ("" if told else f"{unit}, ") + measured, WIDTH)
