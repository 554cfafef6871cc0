"""The benchmark in files: JSON, a Markdown table, and a figure."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from studies.figures import style
from vpstudy import atomic


def write(result: dict, folder: Path, figures: Path) -> None:
    """Write `speed.json` and `speed.md` to `folder`, `speed.png` to `figures`."""
    atomic.write_json(folder / "speed.json", result)
    atomic.write_text(folder / "speed.md", table(result))
    style.save(draw(result), "speed", figures)


def table(result: dict) -> str:
    """The rows as Markdown, with a line on the machine."""
    rows = [
        {
            "compared (slow / fast)": row["name"],
            "times as fast": f"{row['ratio']:.2f}",
            "quartiles": "{:.2f} – {:.2f}".format(*row["quartiles"]),
            "wanted": f"≥ {row['wanted']:g}" if row["wanted"] else "",
            "slow, s": f"{row['seconds_slow']:.4g}",
            "fast, s": f"{row['seconds_fast']:.4g}",
        }
        for row in result["rows"]
    ]
    return f"{pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)}\n\n{_machine(result)}\n"


def draw(result: dict) -> Figure:
    """A row for each comparison: every round, their median, and what is wanted."""
    rows = result["rows"]
    figure, ((axis,),) = style.new_figure(1, 1, 1.2 + 0.42 * len(rows))
    for y, row in enumerate(rows):
        axis.plot(row["rounds"], [y] * len(row["rounds"]), "o", color="#56B4E9", ms=3.5, alpha=0.7)
        axis.plot([row["ratio"]], [y], "|", color="black", ms=14, mew=1.6)
        if row["wanted"]:
            axis.plot([row["wanted"]], [y], ">", color=style.ALARM, ms=5)
        axis.annotate(f"{row['ratio']:.1f}", (row["ratio"], y), (0, 8), textcoords="offset points", ha="center")
    axis.axvline(1, color="black", lw=0.6)
    axis.set_xscale("log")
    ratios = [1.0, *(value for row in rows for value in row["rounds"])]
    axis.set_xlim(min(ratios) / 1.15, max(ratios) * 1.3)
    axis.set_xticks([tick for tick in (0.5, 1, 2, 5, 10, 20, 50, 100) if min(ratios) <= tick <= max(ratios) * 1.3])
    axis.xaxis.set_major_formatter(ScalarFormatter())
    axis.minorticks_off()
    axis.set_yticks(range(len(rows)), [row["name"].replace(": ", ":\n") for row in rows])
    axis.set_ylim(len(rows) - 0.5, -0.7)
    axis.set_xlabel("times as fast")
    note = f"Dots: rounds; line: their median; triangle: wanted at least. {_machine(result)}"
    style.caption(figure, "Speed against plain ways", note)
    return figure


def _machine(result: dict) -> str:
    units = ", ".join(result["bf16_units"]) or "none"
    loads = " and ".join(f"{load:.1f}" for load in result["load_average"])
    return (
        f"{result['gpu'] or result['cpu']}, {result['precision']} ({result['device']}), {result['threads']} threads, "
        f"bf16 units of the CPU: {units}, torch {result['versions']['torch']}; load average before and after: {loads}."
    )
