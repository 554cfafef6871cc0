"""Tables of the vpns study, from the report. Its `runs` have a row for each run, arm and view."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from studies.claims.verdict import LEVEL
from studies.figures import tables
from studies.statistics import first_network, summarise
from studies.vpns.claims import NOT_WORSE
from studies.vpns.evidence import SINGLE_PASS, VpnsEvidence, arm, difference, percent, words
from vpstudy import paths
from vpstudy.training.mask_search.methods import METHODS

PUBLISHED = paths.ROOT / "data" / "published" / "vpns.csv"
BEST, DENSE = "VPNs − best other that does not iterate", "VPNs − dense"
STEPS = (  # from HYDRA to VPNs, one change at a time
    ("optimizer of scores: Adam, not SGD", arm("hydra_adam"), arm("hydra")),
    ("two passes, no prompt", arm("vpns_no_prompt"), arm("hydra_adam")),
    ("the prompt, measured without it", arm("vpns"), arm("vpns_no_prompt")),
    ("the prompt, measured with it", arm("vpns", view="prompted"), arm("vpns_no_prompt")),
)


def results(report) -> pd.DataFrame:
    """Accuracy and calibration of every arm by target."""

    def label(row) -> dict[str, str]:
        method = words((row.pruner, row.arm, row.view))
        return {"backbone": row.backbone, "target": row.target, "method": method, "pruned": percent(row.sparsity)}

    return tables.results(report.runs, ["backbone", "target", "pruner", "arm", "view", "sparsity"], label)


def published(report) -> pd.DataFrame:
    """The paper's gains beside ours, in points; networks and data differ, so compare directions only."""
    runs = report.runs
    paper = pd.read_csv(PUBLISHED)
    paper = paper[paper["table"] == "main"].assign(arm=lambda table: table["arm"].str.split(" ").str[0])
    wide = paper.pivot_table(index=["dataset", "sparsity"], columns="arm", values="accuracy")
    dense = wide["dense"].groupby("dataset").transform("max")
    gain = pd.DataFrame({BEST: wide["VPNs"] - wide["best"], DENSE: wide["VPNs"] - dense}).dropna()
    source = f"paper, mean of {gain.index.get_level_values('dataset').nunique()} data sets (ResNet-18)"
    rows = [
        {"source": source, "pruned": f"{sparsity:g} %", **means.to_dict()}
        for sparsity, means in gain.groupby("sparsity").mean().iterrows()
    ]
    for backbone, of_backbone in runs.groupby("backbone", sort=False):
        evidence = VpnsEvidence(of_backbone)
        names = [name for name in ("dense", "vpns", *SINGLE_PASS) if name in set(of_backbone["pruner"])]
        for sparsity in evidence.sparsities("vpns"):
            accuracy = {name: evidence.of(arm(name), sparsity).groupby("target")["accuracy"].mean() for name in names}
            means = 100 * pd.DataFrame(accuracy).astype(float)
            best = means.drop(columns=["dense", "vpns"]).max(axis=1)
            of = {BEST: (means["vpns"] - best).mean(), DENSE: (means["vpns"] - means["dense"]).mean()}
            source = f"here, mean of {len(means)} target(s) ({backbone})"
            rows.append({"source": source, "pruned": percent(sparsity), **of})
    return pd.DataFrame(rows).round(2)


def published_ablations(report) -> pd.DataFrame:
    """The paper's ablations and channel pruning beside ours, in per cent; networks and data differ."""
    paper = pd.read_csv(PUBLISHED)
    rows = [
        {"table": row.table, "source": f"paper, {row.dataset}", "pruned": f"{row.sparsity:g} %", "arm": row.arm}
        | {"accuracy": f"{row.accuracy:.2f}"}
        for row in paper[paper["table"] != "main"].itertuples()
    ]
    runs = report.runs[(report.runs["arm"] == "main") & (report.runs["view"] == "bare")]
    at_controls = runs[runs["sparsity"].isin(report.settings.control_sparsities)]
    ours = [("channels", runs[runs["pruner"].isin(methods(runs, "channels"))])]
    if changed := methods(runs, "ablation"):
        ours.insert(0, ("ablation", at_controls[at_controls["pruner"].isin(["vpns", "vpns_no_prompt", *changed])]))
    for table, frame in ours:
        for row in summarise(frame, ["target", "sparsity", "pruner"], "accuracy").itertuples():
            at = {"source": f"here, {row.target}", "pruned": percent(row.sparsity), "arm": METHODS[row.pruner].label}
            rows.append({"table": table, **at, "accuracy": f"{100 * row.mean:.2f}"})
    return pd.DataFrame(rows)


def matches_dense(report) -> pd.DataFrame:
    """The largest sparsity up to which every sparsity rejects a loss of a point or more against dense."""
    rows = []
    for backbone, of_backbone in report.runs.groupby("backbone", sort=False):
        evidence = VpnsEvidence(of_backbone)
        for name in methods(of_backbone, "baseline", "vpns", "control"):
            reached = "none"
            for sparsity in evidence.sparsities(name):
                found = difference(evidence, arm(name), arm("dense"), sparsity)
                if found is None or NOT_WORSE.p(found.effect)[0] >= LEVEL:
                    break
                reached = percent(sparsity)
            rows.append({"backbone": backbone, "method": METHODS[name].label, "matches dense up to": reached})
    return pd.DataFrame(rows)


def tuning(report) -> pd.DataFrame:
    """How often validation chose each learning-rate factor, by method."""
    tuned = (
        (METHODS[c["cell"]["pruner"]].label, one["tried"]) for c in report.contents for one in c["facts"]["tuning"]
    )
    return tables.chosen(tuned, "factor")


def layers(report, runs: pd.DataFrame, sparsity: float) -> pd.DataFrame:
    """Share of weights left by method (rows) and layer, averaged over the first seeds of cells."""
    left: dict[str, list[dict[str, float]]] = {}
    for content in report.contents:
        of_layers, method = content["facts"]["layers"].get(f"{sparsity:g}"), METHODS[content["cell"]["pruner"]]
        same = content["cell"]["backbone"] == first_network(runs)
        if same and of_layers and method.role in ("baseline", "vpns", "control"):
            left.setdefault(method.label, []).append(of_layers)
    return pd.DataFrame({label: pd.DataFrame(each).mean() for label, each in left.items()}).T


def sizes(results: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Mean MACs and parameters; columns target, pruner, sparsity, macs, parameters."""
    by = ["target", "pruner", "sparsity"]
    frame = pd.DataFrame(
        {**size, "target": result["cell"]["target"], "pruner": result["cell"]["pruner"], "sparsity": float(key)}
        for result in results
        for key, size in result["facts"]["networks"].items()
    )
    return frame.groupby(by, sort=False)[["macs", "parameters"]].mean().reset_index()


def methods(runs: pd.DataFrame, *roles: str) -> list[str]:
    """The methods of these roles that were run."""
    present = set(runs["pruner"])
    return [name for name, method in METHODS.items() if method.role in roles and name in present]


TABLES = {
    "results": results,
    "published": published,
    "published_ablations": published_ablations,
    "matches_dense": matches_dense,
    "tuning": tuning,
}
