"""The verdicts as the README and the site's start page show them.

`python -m studies.claims.answers` writes the tables of ledgers into the README, each between two marks: the study and
the scale that it is read from.
"""

import argparse
import re

import pandas as pd

from studies import grid
from studies.claims import ledger
from studies.claims.conclusions import effect_text
from studies.claims.report import STUDIES
from studies.claims.verdict import NOT_RUN, READINGS
from studies.figures import tables
from vpstudy import atomic, paths

README = paths.ROOT / "README.md"
BLOCK = re.compile(r"<!-- claims of (\w+): (\w+) -->\n.*?<!-- end of claims -->\n", re.DOTALL)


def scales() -> list[str]:
    """Scales with a ledger, that with most verdicts first."""
    found = [path.parent.name for path in paths.RESULTS.glob("*/claims.json")]
    return sorted(found, key=lambda scale: (-sum(e["verdict"] in READINGS for e in ledger.read(scale)), scale))


def effects(entry: ledger.Entry) -> str:
    """The effects of a claim with at most two findings, else how many findings there are."""
    found = entry["findings"]
    return f"{len(found)} findings" if len(found) > 2 else "; ".join(map(effect_text, found)) or "—"


def answers() -> str:
    """HTML: every claim that was run, with its verdict and effect at each scale, and verdicts of a second run.

    A claim leads to its study's page, at the scale with most verdicts of those that ran it.
    """
    every = {scale: {entry["id"]: entry for entry in ledger.read(scale)} for scale in scales()}
    statements = {claim.id: claim.statement for module in STUDIES.values() for claim in module.CLAIMS}
    run = [name for name in statements if any(_verdict(found, name) != NOT_RUN for found in every.values())]
    table = pd.DataFrame({"claim": run, "in words": [statements[name] for name in run]})
    for scale, entries in every.items():
        second = ledger.again(scale).get("verdicts", {})
        verdicts = [_verdict(entries, name) for name in run]
        table[f"verdict at {scale}"] = verdicts
        table[f"effect at {scale}"] = [effects(entries[name]) if name in entries else "—" for name in run]
        if second:
            again = [second.get(name, first) for name, first in zip(run, verdicts, strict=True)]
            table[f"{scale}, second run"] = list(map(_beside, again, verdicts))
    left = ", ".join(name for name in statements if name not in run)
    return (
        tables.html(table, {name: _page(every, name) for name in run})
        + f"<p>Not run at any of these scales: {left or 'none'}.</p>"
    )


def _page(every: dict[str, dict[str, ledger.Entry]], name: str) -> str:
    scale = next(scale for scale, entries in every.items() if _verdict(entries, name) != NOT_RUN)
    return f"results/{scale}/{grid.STAGES[every[scale][name]['study']].notebook}.html"


def _verdict(entries: dict[str, ledger.Entry], name: str) -> str:
    return entries[name]["verdict"] if name in entries else NOT_RUN


def _beside(again: str, first: str) -> str:
    """The verdict of a second run beside that of the first."""
    return again if again != first else "—" if first == NOT_RUN else "the same"


def block(scale: str, study: str) -> str:
    """The README's table of what was run of a study at a scale, between its marks; each claim links to the notebook."""
    entries = [entry for entry in ledger.read(scale) if entry["study"] == study]
    lines = [["claim", "in words", "effect [95 %]", "verdict", "power"], ["---"] * 5]
    for entry in (each for each in entries if each["verdict"] != NOT_RUN):
        place = f"notebooks/rendered/{scale}/{grid.STAGES[study].notebook}.ipynb"
        power = "—" if entry.get("power") is None else f"{entry['power']:.2f}"
        lines.append([f"[{entry['id']}]({place})", entry["statement"], effects(entry), entry["verdict"], power])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    left = ", ".join(entry["id"] for entry in entries if entry["verdict"] == NOT_RUN)
    note = f"Not run: {left}.\n\n" if left else ""
    return f"<!-- claims of {scale}: {study} -->\n\n{table}\n\n{note}<!-- end of claims -->\n"


if __name__ == "__main__":
    argparse.ArgumentParser(description="Write the tables of claims into README.md.").parse_args()
    atomic.write_text(README, BLOCK.sub(lambda found: block(*found.groups()), README.read_text(encoding="utf-8")))
