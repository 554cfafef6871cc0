"""Evidence for the claims of hidden_cost: results of all networks, and paired changes against dense.

A *change* is a run's value minus that of the dense run with the same network, target, method, budget and seed. A
compression that trains on is compared with the dense network that was trained as long. Networks that have collapsed
(`admission.py`) are left out and counted.
"""

from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from studies import grid, results
from studies.claims.claim import NETWORK, ON, Finding, finding
from studies.hidden_cost.admission import admitted
from studies.hidden_cost.screening import is_noise, responds
from studies.parameters import Parameters
from studies.results import Results
from studies.statistics import paired, without_block
from vpstudy.compression.family import Compression
from vpstudy.compression.registry import FAMILIES, parse

RUN = [*ON, "budget"]  # identifies a run within a method and compression
SMALL_TEST = 300  # targets with fewer test pictures are left out of pooled calibration
ENOUGH = 3  # networks that must be admitted with a compression for it to be the primary one


def control_of(compression: str) -> str:
    """What a compression is compared with."""
    return parse(compression).control or "dense"


@dataclass(frozen=True)
class Evidence:
    """The results of one scale."""

    runs: pd.DataFrame  # one row per run, controls included
    backbones: pd.DataFrame  # upstream_accuracy and admitted, one row per network and compression
    facts: dict[tuple[str, str], dict[str, Any]]  # by backbone and target: classes, source_classes, pictures per split
    notes: tuple[str, ...] = ()  # what claims leave out, in words

    @property
    def recovered(self) -> list[Compression]:
        """The rounds of iterative pruning or, without any, the networks pruned at once and recovered."""
        pruned = [each for each in map(parse, self.runs["compression"].unique()) if each.recovered]
        return [each for each in pruned if each.family == "imp"] or pruned

    @property
    def sparsest(self) -> str | None:
        """The sparsest of `recovered` that is admitted on `ENOUGH` networks, else on as many as any is."""

        def rank(each: Compression) -> tuple:  # of two equally sparse ones, that with more recovery
            enough = min(self.admitted_on(each.name), ENOUGH)
            return enough, each.sparsity, list(FAMILIES).index(each.family)

        return max(self.recovered, key=rank).name if self.recovered else None

    def admitted_on(self, compression: str) -> int:
        """The number of networks that are admitted with this compression."""
        rows = self.backbones[self.backbones["compression"] == compression]
        return int(rows["admitted"].sum())

    @property
    def large_targets(self) -> set[str]:
        return {target for (_, target), fact in self.facts.items() if fact["pictures"]["test"] >= SMALL_TEST}

    @property
    def upstream(self) -> pd.Series:
        """Of each row of `backbones`: accuracy on the source task, or agreement with dense where it has no labels."""
        agreement = self.backbones["upstream_accuracy"]
        return self.backbones.get("labelled_accuracy", agreement).fillna(agreement)

    def without(self, block: int) -> "Evidence":
        """The results without a block of test pictures."""
        return replace(self, runs=without_block(self.runs, block))

    def of(self, compression: str, method: str) -> pd.DataFrame:
        """The runs of networks that are admitted with this compression."""
        table = self.backbones
        kept = table.loc[table["admitted"] & (table["compression"] == compression), NETWORK]
        runs = self.runs[(self.runs["method"] == method) & (self.runs["compression"] == compression)]
        return runs.merge(kept, on=NETWORK)

    def differences(self, one: tuple[str, str], other: tuple[str, str], metric: str) -> pd.DataFrame:
        """`metric` of one (compression, method) minus that of another, where both finished: columns `RUN` and value."""
        pairs = paired(self.of(*one), self.of(*other), RUN, metric)
        return pairs[pairs["status"] == "ok"].rename(columns={"difference": "value"})[[*RUN, "value"]]

    def changes(self, metric: str, compression: str, method: str = "visual_prompting") -> pd.DataFrame:
        """Paired changes of the runs that finished: columns `RUN` and value."""
        return self.differences((compression, method), (control_of(compression), method), metric)

    def finding(self, compression: str, values: pd.DataFrame, words: str = "", pooled: Any = None) -> Finding:
        """A finding on a compression; its label names another control than dense and counts collapsed networks."""
        if (control := control_of(compression)) != "dense":
            words = f" against {control}{words}"
        rows = self.backbones[self.backbones["compression"] == compression]
        collapsed = int((~rows["admitted"]).sum())
        if collapsed:
            words += f" ({collapsed} of {len(rows)} networks collapsed)"
        return finding(compression + words, values, pooled, collapsed)


def evidence(parameters: Parameters, read: Results) -> Evidence | None:
    """The evidence on targets that respond; `read` holds the transfer cells. None without any, or without networks."""
    compressed = results.read(grid.cells(parameters, "compress")).frame
    if read.frame.empty or compressed.empty:
        return None
    fall = parameters.hidden_cost.screening.fall
    verdicts = responds(read.frame, fall) if fall else {}
    runs = read.frame[~is_noise(read.frame) & read.frame["target"].map(verdicts).ne(False)]
    deaf = [target for target, responded in verdicts.items() if not responded]
    if runs.empty:
        return None
    compressed = compressed[~is_noise(compressed)]
    facts = {(content["cell"]["backbone"], content["cell"]["target"]): content["facts"] for content in read.contents}
    backbones = compressed.rename(columns={"accuracy": "upstream_accuracy"})
    return Evidence(
        runs.reset_index(drop=True),
        backbones.assign(admitted=admitted(backbones, parameters.hidden_cost.admission)),
        facts,
        tuple(f"no claim is judged on {name}, which does not respond to weight noise" for name in deaf),
    )
