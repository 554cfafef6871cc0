"""Why few bits might help: QCoOp against noise, other codebooks, and ways to stay near the start."""

import pandas as pd
from IPython.display import Markdown

from studies.claims.claim import Finding
from studies.claims.verdict import NOT_RUN
from studies.figures import panels, tables
from studies.qprompt import figures
from studies.qprompt.claims import CONTROLS, GAIN
from studies.qprompt.evidence import GROUPS
from studies.qprompt.labels import COOP, FEWEST, KGCOOP, qat, words
from studies.qprompt.report import BaseToNew

QUESTIONS = (
    ("Few bits instead of full weights", COOP),
    ("Few bits instead of noise of their error's size at the start, kept", ("noise", "fixed-matched")),
    ("The same noise, fresh at each step", ("noise", "fresh-matched")),
    ("Learning with few bits instead of the hand-written prompt with as few", ("zero_shot", f"hand-{FEWEST}")),
    ("Few bits instead of a pull to the start (KgCoOp)", KGCOOP),
    ("Few bits instead of stopping early", ("regularised", "early")),
)


class ControlsReport(BaseToNew):
    """Noise, or staying near the start? Figures, paired differences, and answers from their intervals."""

    def controls(self) -> None:
        """Other explanations of the effect of few bits."""
        noise = [arm for arm in self.arms if arm[0] == "noise" and arm not in CONTROLS]
        note = "Noise in σ, deviations of the initial prompt."
        self.dots("controls", [qat(FEWEST), COOP, *CONTROLS, *noise], "Noise, or staying near the start?", note)

    def distances(self) -> None:
        """Accuracy against the distance of the used prompt from its start."""
        mean = self.runs[self.runs["distance"].notna()].groupby(["prompter", "arm"])["distance"].mean()
        table = self.summary([arm for arm in self.arms if arm in mean.index], "accuracy", GROUPS)
        table["distance"] = [mean[arm] for arm in zip(table["prompter"], table["arm"], strict=True)]
        note = "Numbers: bits, or noise in deviations of the initial prompt; so is the RMS distance."
        note = f"{note} {panels.seeds_note(self.runs, 'bars')}"
        title = "Does it matter how far a prompt went?"
        self.show("distances", figures.scatter(table, "distance", GROUPS, "distance to the start", title, note))

    def why(self) -> pd.DataFrame:
        """QCoOp minus each control, paired: accuracy with its verdict, and distance from the start."""
        rows = []
        for backbone, evidence in self.evidence.items():
            for control in (COOP, *CONTROLS):
                row = {"backbone": backbone, "QCoOp less": words(control)}
                for group in ("new", "H"):
                    found = evidence.difference(qat(FEWEST), control, group)
                    row[f"{group} [95 %]"], row[f"{group}: so"] = answer(found)
                far = evidence.farther(qat(FEWEST), control)
                row["distance to the start [95 %]"] = tables.interval_text(far.effect, 2) if far else "—"
                rows.append(row)
        return self.table("why", pd.DataFrame(rows))

    def conclusion(self) -> Markdown:
        """Answers to `QUESTIONS`, from the intervals alone."""
        lines = []
        for backbone, evidence in self.evidence.items():
            for question, control in QUESTIONS:
                text, so = answer(evidence.difference(qat(FEWEST), control, "new"))
                lines.append(f"- {question} ({backbone}): accuracy on new {text}, {so}.")
            if ratio := evidence.growth(qat(FEWEST)):
                lines.append(
                    f"- The deviation of the weights behind the codebook ends at {ratio:.1f} times that at the start "
                    f"({backbone}), and a codebook's error grows with it: that noise is matched at the start alone."
                )
            if far := evidence.farther(qat(FEWEST), COOP):
                so = _signed(far, "it ends farther", "it ends nearer") or "not resolved"
                lines.append(
                    f"- Does a prompt of few bits stay nearer to its start than CoOp ({backbone})? Distance "
                    f"{tables.interval_text(far.effect, 2)}, in deviations of the initial prompt: {so}."
                )
        return Markdown("\n".join(lines))


def answer(found: Finding | None) -> tuple[str, str]:
    """A difference as text, and its verdict given the smallest effect of interest."""
    if found is None or not found.effect.n:
        return "—", NOT_RUN
    effect = found.effect
    within = max(-effect.low, effect.high) < GAIN
    so = _signed(found, "few bits are better", "few bits are worse")
    return tables.interval_text(effect), so or (f"the same within {GAIN:g}" if within else "not resolved")


def _signed(found: Finding, above: str, below: str) -> str | None:
    """`above` or `below` if the interval leaves out zero, else None; a message if there is no interval."""
    effect = found.effect
    if effect.n < 2:
        return "one replicate has no interval"
    return above if effect.low > 0 else below if effect.high < 0 else None
