"""What the verdicts of a ledger amount to, in sentences."""

from collections.abc import Sequence

from studies.claims.ledger import POWERS, Entry, highest_power
from studies.claims.verdict import EVEN, ONE_NETWORK, READINGS

OPEN = "inconclusive"
GOOD = 0.8  # power from which a study could be expected to find an effect


def effect_text(effect: Entry) -> str:
    """An effect or finding as "+0.010 [-0.002, +0.022]"."""
    if effect["effect"] is None:
        return "no comparable runs"
    if effect["low"] is None:
        return f"{effect['effect']:+.3f} (one replicate)"
    return f"{effect['effect']:+.3f} [{effect['low']:+.3f}, {effect['high']:+.3f}]"


def findable(entry: Entry) -> str:
    """Whether the study could have found what the claim is about, from the power that its own spread leaves it.

    At the published effect or at the smallest effect of interest, whichever it finds more easily.
    """
    if (power := highest_power(entry)) is None:
        return "no: one network" if entry["verdict"] == ONE_NETWORK else "—"
    return "yes" if power >= GOOD else "perhaps" if power >= EVEN else "no"


def power_text(entry: Entry) -> str:
    """The power at the smallest effect of interest and, where a number is published, at that: "0.16, 0.97"."""
    return ", ".join(f"{entry[name]:.2f}" for name in POWERS if entry[name] is not None) or "—"


def published_sizes(entry: Entry) -> list[float]:
    """The size of the published effect of each finding: its own, or the least of all; [] where none is published."""
    sizes, n = entry["published_effects"], len(entry["findings"])
    return sizes if len(sizes) in (0, n) else [min(sizes)] * n


def published_text(entry: Entry) -> str:
    """Published effects, and which intervals leave them out: "+0.0385 and +0.0158 accuracy; stronger than 1 of 2 …".

    A single number of several findings is the least that is published of any.
    """
    sizes, found, sign = entry["published_effects"], entry["findings"], entry["direction"]
    if not sizes:
        return "—"
    text = f"{' and '.join(f'{sign * size:+g}' for size in sizes)} {entry['unit']}"
    each = published_sizes(entry)
    text += " at least" if len(each) > len(sizes) else ""
    known = [(size, of) for size, of in zip(each, found, strict=True) if of["low"] is not None]
    beyond = sum(size > max(sign * of["low"], sign * of["high"]) for size, of in known)
    text += f"; stronger than {beyond} of {len(known)} intervals" if known else ""
    return text + ("; less than the smallest of interest" if min(sizes) < entry["smallest_effect"] else "")


def stability(entries: Sequence[Entry], study: str, again: Entry) -> str:
    """How far a second run of a study led to the same; `again` is of `ledger.again`."""
    verdicts = again["verdicts"]
    pairs = [(entry, verdicts[entry["id"]]) for entry in entries if entry["id"] in verdicts]
    moved = [f"{entry['id']} from {entry['verdict']} to {other}" for entry, other in pairs if other != entry["verdict"]]
    return (
        f"{study}, run again {again['how']}: {again['changed']} of {again['files']} result files were made anew, "
        f"{again['agreeing']} of {again['means']} means in them agree within {again['tolerance']:g}, and "
        f"{len(pairs) - len(moved)} of {len(pairs)} verdicts are the same{': not ' if moved else ''}{', '.join(moved)}."
    )


def conclusions(entries: Sequence[Entry]) -> str:
    """Markdown: each decided claim with its effect, by verdict, then the ids of those that stay open, with the cause.

    A claim of one network is open; what that network says is named.
    """
    lines = []
    for verdict in dict.fromkeys([*READINGS, *(entry["verdict"] for entry in entries)]):
        of = [entry for entry in entries if entry["verdict"] == verdict]
        if not of:
            continue
        if verdict in READINGS and verdict != OPEN:
            lines += [f"- **{len(of)} of {len(entries)} {verdict}:**", *(f"    - {_decided(entry)}" for entry in of)]
        elif verdict == ONE_NETWORK:
            said = "; ".join(
                f"{reading} {_ids([entry for entry in of if entry['reading'] == reading])}"
                for reading in READINGS
                if any(entry["reading"] == reading for entry in of)
            )
            lines.append(f"- **{len(of)} of {len(entries)} cannot be told from one network.** In this one: {said}.")
        else:
            lines.append(f"- **{len(of)} of {len(entries)} {verdict}:** {_ids(of)}.")
    return "\n".join(lines)


def _decided(entry: Entry) -> str:
    found = entry["findings"]
    effect = f"{entry['unit']} {effect_text(found[0])}" if len(found) == 1 else f"{len(found)} findings"
    return f"{entry['id']}: {entry['statement']} ({effect}; {entry['networks']} networks)"


def _ids(entries: Sequence[Entry]) -> str:
    return ", ".join(entry["id"] for entry in entries)
