"""The forest plot: every claim's effect with its interval, beside the smallest effect of interest."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from vpstudy.figures import style

LOOKS = {  # verdict: colour, marker
    "reproduced": ("#009E73", "s"),
    "contradicted": ("#D55E00", "X"),
    "inconclusive": ("#0072B2", "o"),
}
MOST = 6  # findings of one claim
TARGETS = "v^<>dhp"  # a marker for each target


def draw(records: Sequence[dict[str, Any]], paper: str) -> Figure:
    """A row for each finding that decides a claim, in units of the claim's smallest effect of interest.

    Of many findings, the least favourable ones.

    Right of zero is the published direction (of an equivalence claim: worse). Small markers are single targets.

    Parameters
    ----------
    records
        Of one study in a ledger. Claims that were not run are named below the axis.
    paper
        That makes the claims.
    """
    rows = [(record, found) for record in records for found in _least_favourable(record)]
    missing = [record["id"] for record in records if not record["findings"]]
    targets = list(dict.fromkeys(target for _, found in rows for target in found["targets"]))
    figure, ((axis,),) = style.new_figure(1, 1, 1.7 + 0.42 * max(len(rows), 1))
    axis.axvline(0, color="black", lw=0.8)
    axis.axvspan(-1, 1, color="0.93", lw=0, zorder=0)
    for y, (record, found) in enumerate(rows):
        unit = record["direction"] * record["smallest_effect"]
        colour, marker = LOOKS[record["verdict"]]
        for k, target in enumerate(targets):
            if target in found["targets"]:
                value = found["targets"][target]["effect"] / unit
                axis.plot([value], [y + 0.25], TARGETS[k % len(TARGETS)], color="0.45", ms=4, mew=0)
        mean = found["effect"] / unit
        if found["low"] is not None:
            ends = sorted((found["low"] / unit, found["high"] / unit))
            axis.plot(ends, [y, y], color=colour, lw=2)
        axis.plot([mean], [y], marker, color=colour, ms=7)
    labels = [_label(record, found) for record, found in rows]
    axis.set_yticks(range(len(rows)), labels)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.grid(False, axis="y")
    axis.set_xlabel(
        "effect, in smallest effects of interest (grey: less than that)\n"
        "→ published direction (of what should not happen: worse)"
    )
    handles = [Line2D([], [], color=c, marker=m, label=verdict) for verdict, (c, m) in LOOKS.items()]
    handles += [
        Line2D([], [], ls="", marker=TARGETS[k % len(TARGETS)], color="0.45", label=target)
        for k, target in enumerate(targets)
    ]
    handles.append(Patch(color="0.93", label="too small to matter"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    note = "Large markers: over targets, with 95 % t intervals; small ones: single targets."
    if missing:
        note += f" Not run at this scale: {', '.join(missing)}."
    if any(len(record["findings"]) > MOST for record in records):
        note += f" Of claims with more findings, the {MOST} least favourable."
    style.caption(figure, f"The claims of {paper}", note)
    return figure


def _least_favourable(record: dict[str, Any]) -> list[dict[str, Any]]:
    found = record["findings"]
    if len(found) <= MOST:
        return found
    return sorted(found, key=lambda each: each["effect"] * record["direction"])[:MOST]


def _label(record: dict[str, Any], found: dict[str, Any]) -> str:
    measured = found["label"].removesuffix(f", {record['unit']}")
    return f"{record['id']}: {record['unit']}, {measured}"
