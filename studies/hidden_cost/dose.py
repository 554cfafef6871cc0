"""Dose and response: what the adapted model loses against what the compressed network lost upstream.

Each network has its own least-squares line of changes over upstream changes. The *hidden cost* is the mean height of
these lines at no upstream change, with a t interval over networks (and test pictures, as for every claim). A mixed
model has the same means where all networks have the same compressions. With few networks it is no better otherwise: in
160 synthetic studies of 3 to 10 networks each fit of statsmodels' MixedLM failed or gave a warning, and its 95 %
intervals held the truth in 70 to 85 %; those of t in 90 to 95 %.

*Null controls* change nothing that matters: 8-bit networks, dense trained or distilled again, dense with other seeds.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from studies.claims.claim import NETWORK, Finding, finding
from studies.hidden_cost.evidence import RUN, Evidence, control_of
from vpstudy.compression.family import Compression
from vpstudy.compression.registry import parse

KINDS = ("sparsity", "quantization")
FEWEST = 2  # different upstream changes that a line takes
NULL = "dense, other seeds"


def kind(of: Compression) -> str | None:
    return "sparsity" if of.sparsity else "quantization" if of.bits else None


def kind_of(name: str) -> str | None:
    """As `kind`, of a name; None for what null controls are called."""
    return None if name == NULL else kind(parse(name))


def is_null(of: Compression) -> bool:
    again = of.family in ("dense_tuned", "dense_distilled")
    return again or (of.bits == 8 and of.activation_bits in (None, 8))


def points(found: Evidence, metric: str, method: str, wanted: Callable[[Compression], bool]) -> pd.DataFrame:
    """Changes of runs with the `wanted` compressions: `RUN`, compression, upstream (change, same control), value.

    Targets with few test pictures count for accuracy only, if there are larger ones.
    """
    runs = found.runs[(found.runs["method"] == method) & (found.runs["status"] == "ok")]
    networks = found.backbones.assign(upstream=found.upstream)
    networks = networks.loc[networks["admitted"], [*NETWORK, "compression", "upstream"]]
    table = runs[[*RUN, "compression", metric]].merge(networks, on=[*NETWORK, "compression"])
    controls = {each.name: control_of(each.name) for each in map(parse, table["compression"].unique()) if wanted(each)}
    of = table[table["compression"].isin(controls)].assign(control=lambda some: some["compression"].map(controls))
    of = of.merge(table.rename(columns={"compression": "control"}), on=[*RUN, "control"], suffixes=("", "_of_control"))
    value, upstream = (of[name].astype(float) - of[f"{name}_of_control"].astype(float) for name in (metric, "upstream"))
    table = of[[*RUN, "compression"]].assign(upstream=upstream, value=value).dropna(subset=["upstream", "value"])
    if metric != "accuracy":
        large = table["target"].isin(found.large_targets)
        table = table[large] if large.any() else table
    return table


def nulls(found: Evidence, metric: str, method: str) -> pd.DataFrame:
    """Changes of the null controls, as `points`; of dense, the first half of the seeds less the others."""
    controls = points(found, metric, method, is_null)
    dense = found.of("dense", method)
    dense = dense[(dense["status"] == "ok") & dense[metric].notna()]
    seeds = sorted(dense["seed"].unique())
    sign = np.where(dense["seed"].isin(seeds[: len(seeds) // 2]), 1.0, -1.0)
    by = [name for name in RUN if name != "seed"]
    halves = dense.assign(sign=sign).pivot_table(metric, by, "sign")
    if len(seeds) > 1:
        same = (halves[1.0] - halves[-1.0]).dropna().rename("value").reset_index()
        controls = pd.concat([controls, same.assign(seed=seeds[0], upstream=0.0, compression=NULL)], ignore_index=True)
    return controls


def lines(of: pd.DataFrame) -> pd.DataFrame:
    """The line through the points of each run: `RUN`, height at no upstream change, slope."""
    from_mean = of[["upstream", "value"]] - of.groupby(RUN)[["upstream", "value"]].transform("mean")
    table = of.assign(xx=from_mean["upstream"] ** 2, xy=from_mean["upstream"] * from_mean["value"]).groupby(RUN)
    slope = table["xy"].sum() / table["xx"].sum()
    height = table["value"].mean() - slope * table["upstream"].mean()
    enough = table["upstream"].nunique() >= FEWEST
    return pd.DataFrame({"height": height, "slope": slope})[enough].reset_index()


def lines_of(found: Evidence, metric: str, method: str, of_kind: str, within: float = float("inf")) -> pd.DataFrame:
    """The `lines` of a method over sparsities or quantizations, by `RUN`, with upstream changes `within` some size."""
    table = points(found, metric, method, lambda each: kind(each) == of_kind)
    return lines(table[table["upstream"].abs() <= within]).set_index(RUN)


def as_finding(label: str, values: pd.Series) -> Finding:
    """Of heights, slopes or their differences, by `RUN`."""
    return finding(label, values.dropna().rename("value").reset_index())


def margin(found: Evidence, metric: str, *methods: str) -> float:
    """Twice the root mean square of what null controls change in a network, or of its difference between two methods.

    0 without null controls.
    """
    by = [*NETWORK, "compression"]
    of = [nulls(found, metric, method).groupby(by)["value"].mean() for method in methods]
    values = (of[0] - of[1] if len(of) > 1 else of[0]).dropna().astype(float)
    return 2 * float(np.sqrt(np.mean(np.square(values)))) if len(values) else 0.0
