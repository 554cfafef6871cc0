"""Tables of qprompt, from the report."""

import pandas as pd

from studies import grid
from studies import results as stored
from studies.claims.claim import ON, Finding
from studies.claims.verdict import NOT_RUN
from studies.figures import tables
from studies.qprompt.claims import CONTROLS, GAIN
from studies.qprompt.evidence import GROUPS
from studies.qprompt.figures import learned
from studies.qprompt.labels import COOP, FEWEST, MAPLE, QMAPLE, ZERO_SHOT, in_words, ptq, qat, words
from studies.statistics import paired, summarise
from vpstudy import paths
from vpstudy.prompts.codebook import stored_bytes

PAPER = paths.ROOT / "data" / "published" / "qprompt.csv"
PUBLISHED_WEIGHTS = 4 * 512  # four context vectors at the width of CLIP's text tower
PUBLISHED = {  # by name in `PAPER`
    "CLIP": ("zero_shot", "templates"),
    "CoOp": COOP,
    "CoCoOp": ("cocoop", "full"),
    "KgCoOp": ("kgcoop", "full"),
    "ProGrad": ("prograd", "full"),
    "QCoOp, 1 bit": qat(1),
    "QCoOp, 2 bits": qat(2),
    "QCoOp, 4 bits": qat(4),
    "CoOp, then 1 bit": ptq(1),
    "k-means and normalisation": ("quantizers", "never-1"),
    "k-means, normalisation and adaptive clustering": qat(1),
}
TOWERS = {MAPLE: "MaPLe", QMAPLE: "QMaPLe, 4 bits"}  # the name in `PAPER`


def _named(frame: pd.DataFrame) -> list[str]:
    return [words(arm) for arm in zip(frame["prompter"], frame["arm"], strict=True)]


def models(report) -> pd.DataFrame:
    """What each model names by hand-written words, beside the network's own classifier where it has the classes."""
    read = stored.read(grid.cells(report.parameters, "clip_source"))
    rows, seen = [], set()
    for line in read.frame.itertuples():
        name, _, by = line.method.partition(", ")
        told = (line.backbone, line.source_seed, line.accuracy, line.nll)
        if told not in seen:  # a target all of whose names are shared is there once
            rows.append({"model": line.backbone, "pictures of": name, "by": by or "words", **_measured(line)})
        seen.add(told)
    return pd.DataFrame(rows)


def _measured(line) -> dict[str, str]:
    values = {"accuracy": line.accuracy, "debiased ECE": line.ece_debiased, "NLL": line.nll}
    return {name: f"{value:.3f}" for name, value in values.items()}


def refits(report) -> pd.DataFrame:
    """How often adaptive clustering fitted a codebook, and the used prompt's distance from its start."""
    fits = pd.concat([each.fits for each in report.evidence.values()])
    fits = fits.assign(arm=_named(fits))
    by = ["arm", "source_seed", "target", "seed"]
    runs = fits.groupby(by, sort=False)["step"].agg(["size", "last"]).groupby("arm", sort=False)
    table = runs.mean().round(1).set_axis(["fits", "last at step"], axis=1)
    table["runs that refitted"] = runs["size"].agg(lambda fits: f"{(fits > 1).sum()} of {len(fits)}")
    base = report.runs[report.runs["group"] == "base"]
    distances = base["distance"].groupby(_named(base)).mean()
    table["distance to the start"] = distances.reindex(table.index).astype(float).round(2)
    return table.reset_index()


def sizes(report) -> pd.DataFrame:
    """Bytes of a stored prompt, here and at the width of CLIP's text tower, where the paper's ratios hold."""
    rows = []
    for content in report.contents:
        prompter, stored = content["cell"]["prompter"], {row["arm"]: row["bytes"] for row in content["rows"]}
        for arm, at_512 in content["facts"]["size_512"].items() if learned(prompter) else ():
            row = {"arm": words((prompter, arm)), "bytes here": stored[arm], "bytes at width 512": at_512}
            rows.append(row | {"of CoOp's": f"{at_512 / stored_bytes(PUBLISHED_WEIGHTS, 16):.3f}"})
    columns = ["arm", "bytes here", "bytes at width 512", "of CoOp's"]
    return pd.DataFrame(rows, columns=columns).drop_duplicates("arm")


def published(report) -> pd.DataFrame:
    """The paper's averages over eleven data sets beside ours: models and data differ, only directions compare.

    Ours are over all targets: an arm that leaves one out has none.
    """
    paper = pd.read_csv(PAPER)
    ok = report.runs[report.runs["status"] == "ok"]
    ok = ok[ok.groupby(["prompter", "arm"])["target"].transform("nunique") == report.runs["target"].nunique()]
    ours = ok.groupby(["prompter", "arm", "group"])["accuracy"].mean()
    rows = []
    for line in paper[~paper["method"].str.contains("MaPLe")].itertuples():
        arm, row = PUBLISHED.get(line.method), {"table": line.table, "method": line.method}
        for group, value in zip(GROUPS, (line.base, line.new, line.H), strict=True):
            row[f"paper, {group}"] = "—" if pd.isna(value) else f"{value:.2f}"
        row["arm here"] = words(arm) if arm else "—"
        means = {group: ours.get((*arm, group)) if arm else None for group in GROUPS}
        rows.append(row | {f"here, {g}": "—" if mean is None else f"{100 * mean:.2f}" for g, mean in means.items()})
    return pd.DataFrame(rows)


def results(report) -> pd.DataFrame:
    """Accuracy and calibration of every arm."""

    def label(row) -> dict[str, str]:
        arm = words((row.prompter, row.arm))
        return {"backbone": row.backbone, "target": row.target, "arm": arm, "on": row.group}

    by, is_h = ["backbone", "target", "prompter", "arm", "group"], report.alone["group"] == "H"
    measured = tables.results(report.alone[~is_h], by, label)
    return pd.concat([measured, tables.results(report.alone[is_h], by, label, ["accuracy"])]).fillna("—")


def why(report) -> pd.DataFrame:
    """QCoOp minus each control, paired: accuracy with its verdict, and distance from the start."""
    rows = []
    for backbone, evidence in report.evidence.items():
        for control in (COOP, *CONTROLS):
            row = {"backbone": backbone, "QCoOp less": words(control)}
            for group in ("new", "H"):
                row[f"{group} [95 %]"], row[f"{group}: so"] = answer(evidence.difference(qat(FEWEST), control, group))
            far = evidence.farther(qat(FEWEST), control)
            rows.append(row | {"distance to the start [95 %]": tables.interval_text(far.effect, 2) if far else "—"})
    return pd.DataFrame(rows)


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


def every_class(name: str, by: str, called: str):
    """Accuracy of each arm, and each quantized arm minus CoOp, paired; a line for each target and value of `by`."""

    def table(report) -> pd.DataFrame:
        runs = report.every_class[name]
        arms = dict(list(runs.groupby("arm", sort=False)))
        texts = {arm if arm == ZERO_SHOT else in_words(arm): _texts(of, by, "accuracy") for arm, of in arms.items()}
        for arm in (arm for arm in arms if arm.startswith("qat-") and "full" in arms):
            pairs = paired(arms[arm], arms["full"], [*ON, by], "accuracy")
            texts[f"{in_words(arm)} − {in_words('full')}"] = _texts(pairs, by, "difference")
        lines = runs.loc[runs["arm"] != ZERO_SHOT, ["target", by]].drop_duplicates().itertuples(index=False, name=None)
        return pd.DataFrame(
            {"target": target, called: "as learned" if of == "all" else of}
            # the hand-written prompt is the same at each number of pictures
            | {arm: text.get((target, of), text.get((target, "0"), "—")) for arm, text in texts.items()}
            for target, of in lines
        )

    return table


def _texts(runs: pd.DataFrame, by: str, metric: str) -> dict[tuple[str, str], str]:
    """Mean and interval of a metric, or of a difference, by target and `by`."""
    text = tables.mean_text if metric == "accuracy" else tables.interval_text
    return {(line.target, line[2]): text(line) for line in summarise(runs, ["target", by], metric).itertuples()}


def multimodal(report) -> pd.DataFrame:
    """MaPLe and QMaPLe on base, new and H, and their bytes, beside the paper's averages over eleven data sets."""
    paper, rows = pd.read_csv(PAPER).set_index("method"), []
    by = ["backbone", "target", "prompter", "arm", "bytes"]
    for (backbone, target, *arm, size), runs in report.multimodal.groupby(by, sort=False):
        name = TOWERS.get(tuple(arm))
        row = {"backbone": backbone, "target": target, "arm": words(tuple(arm))}
        row |= {line.group: tables.mean_text(line) for line in summarise(runs, ["group"], "accuracy").itertuples()}
        row |= {"runs": runs["seed"].nunique(), "bytes": f"{size:,}"}
        row |= {f"paper, {group}": f"{paper.loc[name, group]:.2f}" if name else "—" for group in GROUPS}
        rows.append(row | {"paper, bytes": f"{paper.loc[name, 'bytes']:,.0f}" if name else "—"})
    return pd.DataFrame(rows)


TABLES = {
    "models": models,
    "refits": refits,
    "sizes": sizes,
    "published": published,
    "results": results,
    "why": why,
    "few_shot_table": every_class("few_shot", "budget", "pictures a class"),
    "other_pictures_table": every_class("other_pictures", "group", "pictures"),
    "multimodal_table": multimodal,
}
