"""Forest plot: the effect of every claim with its interval, in smallest effects of interest."""

import math
import textwrap
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from studies.claims.conclusions import published_sizes
from studies.claims.verdict import ONE_NETWORK
from studies.figures import style

LOOKS = {  # what a row's interval says: colour, marker
    "reproduced": ("#009E73", "s"),
    "contradicted": ("#D55E00", "X"),
    "inconclusive": ("#0072B2", "o"),
}  # hollow: in one network, which decides no claim
MOST = 3  # findings shown per claim
NEAR, FAR = 5, 25  # with effects beyond FAR, the axis is logarithmic from NEAR on
TICKS = (2, 5, 10, 20, 50, 100, 200)
WIDTH = 58  # of a label, in characters
TARGETS = "v^<>dhp"  # one marker per target


def draw(entries: Sequence[dict[str, Any]], paper: str) -> Figure:
    """Draw the ledger entries of one study: a row per finding that decides a claim.

    Of more than `MOST` findings, those with the largest p values are shown. Right of zero is the published direction
    or the better one (for equivalence, more). Small markers are single targets, diamonds published effects; a finding
    without comparable runs has no marker. The note names the claims that say nothing.
    """
    rows = [(entry, found) for entry in entries if entry["reading"] for found in _least_favourable(entry)]
    published = [_published(entry, found) for entry, found in rows]
    targets = list(dict.fromkeys(target for _, found in rows for target in found["targets"]))
    labels = [_label(entry, found) for entry, found in rows]
    lines = max((label.count("\n") + 1 for label in labels), default=1)
    figure, ((axis,),) = style.new_figure(1, 1, 1.7 + (0.16 + 0.12 * lines) * max(len(rows), 1))
    axis.axvline(0, color="black", lw=0.8)
    axis.axvspan(-1, 1, color="0.93", lw=0, zorder=0)
    for y, (entry, found) in enumerate(rows):
        unit = (entry["direction"] or 1) * entry["smallest_effect"]
        for k, target in enumerate(targets):
            if target in found["targets"]:
                value = found["targets"][target]["effect"] / unit
                axis.plot([value], [y + 0.25], TARGETS[k % len(TARGETS)], color="0.45", ms=4, mew=0)
        if found["effect"] is None:
            axis.text(0.03, y, "no comparable runs", color=style.GREY, va="center")
            continue
        low, high = sorted(math.nan if end is None else end / unit for end in (found["low"], found["high"]))
        colour, marker = LOOKS[_reading(entry["test"], low, found["effect"] / unit, high)]
        axis.plot([low, high], [y, y], color=colour, lw=2)
        inside = "white" if entry["verdict"] == ONE_NETWORK else colour
        axis.plot([found["effect"] / unit], [y], marker, color=colour, ms=7, mfc=inside)
        if published[y]:
            axis.plot([published[y]], [y], "D", color="black", ms=6, mfc="none")
    beyond = _squeeze_far_effects(axis)
    axis.set_yticks(range(len(rows)), labels)
    axis.set_ylim(max(len(rows), 1) - 0.5, -0.5)
    axis.grid(False, axis="y")
    scale = f"in smallest effects of interest (grey: less{beyond})"
    axis.set_xlabel(f"effect → published or better direction\n{scale}")
    handles = [Line2D([], [], color=c, marker=m, label=verdict) for verdict, (c, m) in LOOKS.items()]
    handles += [
        Line2D([], [], ls="", marker=TARGETS[k % len(TARGETS)], color="0.45", label=target)
        for k, target in enumerate(targets)
    ]
    if any(published):
        handles.append(Line2D([], [], ls="", marker="D", color="black", mfc="none", label="published effect"))
    handles.append(Patch(color="0.93", label="too small to matter"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    style.caption(figure, f"The claims of {paper}", _note(entries))
    return figure


def _reading(test: str, low: float, effect: float, high: float) -> str:
    """What an interval in smallest effects of interest says by itself; NaN, of one replicate, says nothing."""
    if test == "directional":
        holds, fails = low > 0 and effect >= 1, high < 1
    elif test == "non-inferiority":
        holds, fails = low > -1, high < -1
    else:
        holds, fails = low > -1 and high < 1, low > 1 or high < -1
    return "reproduced" if holds else "contradicted" if fails else "inconclusive"


def _squeeze_far_effects(axis) -> str:
    """Use a log scale if effects are huge; returns a remark for the axis label."""
    if max(map(abs, axis.get_xlim())) <= FAR:
        return ""
    axis.set_xscale("symlog", linthresh=NEAR)
    low, high = axis.get_xlim()
    ticks = [tick for tick in (*(-tick for tick in reversed(TICKS)), 0, *TICKS) if low < tick < high]
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()
    return f"; log scale from {NEAR} on"


def _note(entries: Sequence[dict[str, Any]]) -> str:
    note = (
        "Large markers: over targets, with the 95 % intervals that decide, in the colour of what each says by itself, "
        "before Holm's correction. Small ones: single targets."
    )
    without = [entry for entry in entries if not entry["reading"]]
    for verdict in dict.fromkeys(entry["verdict"] for entry in without):
        named = ", ".join(entry["id"] for entry in without if entry["verdict"] == verdict)
        note += f" {verdict.capitalize()}: {named}."
    if any(entry["verdict"] == ONE_NETWORK for entry in entries):
        note += " Hollow: read in one network, which decides no claim."
    if any(len(entry["findings"]) > MOST for entry in entries):
        note += f" Of claims with more findings, the {MOST} least favourable."
    return note


def _least_favourable(entry: dict[str, Any]) -> list[dict[str, Any]]:
    found = entry["findings"]
    return found if len(found) <= MOST else sorted(found, key=lambda each: -each["p"])[:MOST]


def _published(entry: dict[str, Any], found: dict[str, Any]) -> float | None:
    """The published effect of a finding, or the least of all of its claim, in smallest effects of interest."""
    sizes = published_sizes(entry)
    return sizes[entry["findings"].index(found)] / entry["smallest_effect"] if sizes else None


def _label(entry: dict[str, Any], found: dict[str, Any]) -> str:
    """Claim and comparison, with the unit unless the label has it or it is the usual accuracy."""
    measured, unit = found["label"].removesuffix(f", {entry['unit']}"), entry["unit"]
    usual = entry["study"] != "hidden_cost" and unit == "accuracy"
    return textwrap.fill(f"{entry['id']}: " + ("" if usual else f"{unit}, ") + measured, WIDTH)
