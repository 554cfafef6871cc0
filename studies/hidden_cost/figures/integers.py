"""The table of the integer path: what runs in real integers beside what stands for it."""

import pandas as pd
from IPython.display import Markdown

ARMS = {
    "dense": "dense, in floats",
    "integers": "its linear layers in integers",
    "emulated": "the same integers, emulated",
    "simulated": "this compression, simulated",
}
COLUMNS = (
    "network",
    "upstream accuracy",
    "upstream ECE (debiased)",
    "predictions as the integers' (%)",
    "logit difference, mean",
    "logit difference, largest",
    "stored (kB)",
    "latency (ms)",
)
NOTE = "The integer path is measured for w8a8 (and w8a8-mse) on backbones with linear layers besides the classifier."


def table(facts: dict) -> pd.DataFrame:
    """A row for each network of `facts`, as `CompressCell.measure_integers` gives them; "—" where nothing is measured.

    Agreement is with the integers. Emulation and simulation run in floats: their own size and latency mean nothing.
    """
    rows = []
    for arm, words in ARMS.items():
        agreement = facts["agreement"].get(arm, {})
        numbers = (
            (1, facts["accuracy"][arm], "{:.4f}"),
            (1, facts["ece_debiased"][arm], "{:.4f}"),
            (100, agreement.get("same_predictions"), "{:.2f}"),
            (1, agreement.get("mean_difference"), "{:.4f}"),
            (1, agreement.get("largest_difference"), "{:.4f}"),
            (1 / 1000, facts["bytes"].get(arm), "{:,.0f}"),
            (1, facts["latency_ms"].get(arm), "{:.1f}"),
        )
        texts = ("—" if value is None else form.format(factor * value) for factor, value, form in numbers)
        rows.append((words, *texts))
    return pd.DataFrame(rows, columns=COLUMNS)


def show(facts: dict | None) -> pd.DataFrame | Markdown:
    """The table, or a line that says what the integer path is measured for."""
    return table(facts) if facts else Markdown(NOTE)
