"""The verdicts as the README and the site's start page show them.

`python -m studies.claims.answers` writes the tables of ledgers into the README, each between two marks: the study and
the scale that it is read from.
"""

import argparse
import re

import pandas as pd

from studies import grid
from studies.claims import ledger
from studies.claims.conclusions import effect_text, power_text
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
    """HTML: a row for each claim and scale that ran it, with any second verdict; it leads to the page of its study."""
    rows, links, run = [], [], set()
    every = {
        scale: ({entry["id"]: entry for entry in ledger.read(scale)}, ledger.second_verdicts(scale))
        for scale in scales()
    }
    for claim in (claim for module in STUDIES.values() for claim in module.CLAIMS):
        for scale, (entries, again) in every.items():
            entry = entries.get(claim.id)
            if not entry or entry["verdict"] == NOT_RUN:
                continue
            words = "" if claim.id in run else claim.statement
            row = {"claim": claim.id, "in words": words, "scale": scale, "networks": entry["networks"]}
            row |= {"effect [95 %]": effects(entry), "verdict": entry["verdict"]}
            second = again.get(claim.id, "—")
            rows.append(row | {"second run": "the same" if second == entry["verdict"] else second})
            links.append(f"results/{scale}/{grid.STAGES[entry['study']].notebook}.html")
            run.add(claim.id)
    left = [claim.id for module in STUDIES.values() for claim in module.CLAIMS if claim.id not in run]
    return (
        tables.html(pd.DataFrame(rows), links) + f"<p>Not run at any of these scales: {', '.join(left) or 'none'}.</p>"
    )


def block(scale: str, study: str) -> str:
    """The README's table of what was run of a study at a scale, between its marks; each claim links to the notebook."""
    entries = [entry for entry in ledger.read(scale) if entry["study"] == study]
    lines = [["claim", "in words", "effect [95 %]", "verdict", "power"], ["---"] * 5]
    for entry in (each for each in entries if each["verdict"] != NOT_RUN):
        place = f"notebooks/rendered/{scale}/{grid.STAGES[study].notebook}.ipynb"
        name = f"[{entry['id']}]({place})"
        lines.append([name, entry["statement"], effects(entry), entry["verdict"], power_text(entry)])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    left = ", ".join(entry["id"] for entry in entries if entry["verdict"] == NOT_RUN)
    note = f"Not run: {left}.\n\n" if left else ""
    return f"<!-- claims of {scale}: {study} -->\n\n{table}\n\n{note}<!-- end of claims -->\n"


if __name__ == "__main__":
    argparse.ArgumentParser(description="Write the tables of claims into README.md.").parse_args()
    atomic.write_text(README, BLOCK.sub(lambda found: block(*found.groups()), README.read_text(encoding="utf-8")))
