"""The verdicts as the README and the site's start page show them.

`python -m studies.claims.answers SCALE` writes the table of that scale's ledger into the README, between two marks.
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
BLOCK = re.compile(r"<!-- claims of (\w+) -->\n.*?<!-- end of claims -->\n", re.DOTALL)


def scales() -> list[str]:
    """Scales with a ledger, that with most verdicts first."""
    found = [path.parent.name for path in paths.RESULTS.glob("*/claims.json")]
    return sorted(found, key=lambda scale: (-sum(e["verdict"] in READINGS for e in ledger.read(scale)), scale))


def effects(entry: ledger.Entry) -> str:
    """The effect of a claim with one finding, else how many findings there are."""
    found = entry["findings"]
    return effect_text(found[0]) if len(found) == 1 else f"{len(found)} findings" if found else "—"


def answers() -> str:
    """HTML: every claim with its verdict and effect at each scale."""
    every = {scale: {entry["id"]: entry for entry in ledger.read(scale)} for scale in scales()}
    claims = {claim.id: claim.statement for module in STUDIES.values() for claim in module.CLAIMS}
    table = pd.DataFrame({"claim": claims.keys(), "in words": claims.values()})
    for scale, entries in every.items():
        found = [entries.get(name) for name in claims]
        table[f"verdict at {scale}"] = [entry["verdict"] if entry else NOT_RUN for entry in found]
        table[f"effect at {scale}"] = [effects(entry) if entry else "—" for entry in found]
    return tables.html(table)


def block(scale: str) -> str:
    """The README's table of one scale, between its marks; each claim links to the notebook of its paper."""
    lines = [["claim", "in words", "effect [95 %]", "verdict", "power"], ["---"] * 5]
    for entry in ledger.read(scale):
        place = f"notebooks/rendered/{scale}/{grid.STAGES[entry['study']].notebook}.ipynb"
        power = "—" if entry.get("power") is None else f"{entry['power']:.2f}"
        lines.append([f"[{entry['id']}]({place})", entry["statement"], effects(entry), entry["verdict"], power])
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"<!-- claims of {scale} -->\n\n{text}\n\n<!-- end of claims -->\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the table of claims of a scale into README.md.")
    parser.add_argument("scale", choices=scales())
    written = block(parser.parse_args().scale)
    atomic.write_text(README, BLOCK.sub(lambda _: written, README.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
