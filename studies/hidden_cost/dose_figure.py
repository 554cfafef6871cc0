"""Dose and response, drawn and as a table: what adaptation loses against what the network lost upstream."""

from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from studies.claims.claim import NETWORK, Finding
from studies.claims.ledger import measured
from studies.figures import panels, style
from studies.figures.sentences import Drawn
from studies.hidden_cost import dose
from studies.hidden_cost.evidence import Evidence

RESPONSES = {"accuracy": "test accuracy", "ece_debiased": "debiased ECE", "nll_scaled": "NLL after temperature"}
ROOM = 0.12  # beside the points, in widths or heights of the axis
PROBE = "linear_probe"
DEAD = 0.05  # below the label mapping alone, of a dense network


def dose_response(report, runs: pd.DataFrame) -> Drawn | None:
    """Responses × sparsity and quantization: a point per network and compression, a line per method."""
    if (found := living(report)) is None:
        return None
    methods = style.methods(runs["method"])
    tables = {name: _points(found, name, methods) for name in RESPONSES}
    kinds = [kind for kind in dose.KINDS if (tables["accuracy"]["kind"] == kind).any()]
    if not kinds:
        return None
    figure, axes = style.new_figure(len(RESPONSES), len(kinds), 7.2, sharex="col", sharey="row")
    networks = list(dict.fromkeys(found.runs["backbone"]))
    heights: dict[str, list] = {}
    for (metric, table), row in zip(tables.items(), axes, strict=True):
        band = np.sqrt(np.mean([dose.margin(found, metric, method) ** 2 for method in methods]))
        shown = table[table["admitted"]]
        across = _around(shown["value"], -band, band)
        for kind, axis in zip(kinds, row, strict=True):
            here = (table["kind"] == kind) | table["kind"].isna()
            left, right = _around(shown.loc[here, "upstream"], -0.001, 0.0)
            limits = left, right + (right - left) * ROOM
            _draw_points(axis, table[here], (limits, across), networks)
            axis.axhspan(-band, band, color="0.92", lw=0, zorder=0)
            axis.axhline(0, color="black", lw=0.6)
            axis.axvline(0, color="black", lw=0.6)
            for k, method in enumerate(methods):
                of = dose.lines_of(found, metric, method, kind)
                height, slope = (dose.as_finding(part, of[part]).effect for part in ("height", "slope"))
                if height.n:
                    colour, at = style.method(method).colour, limits[1] * (0.3 + 0.15 * k)
                    start = float(shown.loc[here & (shown["method"] == method), "upstream"].min())
                    ends = [height.mean + slope.mean * start, height.mean]
                    axis.plot([start, 0], ends, color=colour, lw=1.2)
                    bars = [[height.mean - height.low], [height.high - height.mean]]
                    axis.errorbar([at], [height.mean], yerr=bars, color=colour, marker="_", ms=7, elinewidth=1.6)
                    if metric == "accuracy":
                        heights.setdefault(kind, []).append((method, height))
            axis.set_xlim(*limits)
            axis.xaxis.set_major_locator(MaxNLocator(4))
        row[0].set_ylim(*across)
        row[0].set_ylabel(f"change of\n{RESPONSES[metric]}")
    for kind, top, bottom in zip(kinds, axes[0], axes[-1], strict=True):
        top.set_title(kind, weight="bold")
        bottom.set_xlabel(_upstream(found))
    looks = {style.method(name).label: {"color": style.method(name).colour, "ls": "-"} for name in methods}
    if len(networks) > 1:
        looks |= {name: {"color": style.GREY, "marker": style.look(k)["marker"]} for k, name in enumerate(networks)}
    looks["null control"] = {"color": style.GREY, "marker": "x"}
    looks["collapsed, not in the lines"] = {"color": style.GREY, "marker": "o", "mfc": "white"}
    panels.legend(figure, looks)
    note = (
        "A point: one network with one compression, over targets, budgets and seeds. Lines: means of the networks' own "
        "lines. Bars right of zero: their height where nothing is lost upstream, the hidden cost, with its 95 % "
        "interval over "
        + ("networks" if found.backbones.groupby(NETWORK).ngroups > 1 else "seeds of the one network")
        + ". "
        "Left out: methods that leave a dense network worse than its label mapping alone. "
        "Grey: as far as null controls reach (twice their root mean square). Collapsed networks beyond an axis stand "
        "at its edge."
    )
    style.caption(figure, "Dose and response: what adaptation loses against what was lost upstream", note)
    return Drawn(figure, _sentence(heights))


def living(report) -> Evidence | None:
    """Without what is dead in dense networks. None if no target responds; ValueError if there are no networks."""
    if report.evidence is None:
        if report.responds and not any(report.responds.values()):
            return None
        raise ValueError("no upstream accuracy of any network is known")
    return replace(report.evidence, runs=report.evidence.runs[_alive(report.evidence.runs)])


def _points(found: Evidence, metric: str, methods: list[str]) -> pd.DataFrame:
    """A row per network, method and compression: upstream, value, kind (None: any), null (a control), admitted."""
    every = replace(found, backbones=found.backbones.assign(admitted=True))
    of, tables = found.backbones.set_index([*NETWORK, "compression"])["admitted"], []
    for method in methods:
        for table, null in (
            (dose.points(every, metric, method, lambda each: dose.kind(each) and not dose.is_null(each)), False),
            (dose.nulls(found, metric, method), True),
        ):
            mean = table.groupby([*NETWORK, "compression"], sort=False)[["upstream", "value"]].mean().reset_index()
            tables.append(mean.assign(method=method, null=null))
    table = pd.concat(tables, ignore_index=True)
    keys = table[[*NETWORK, "compression"]].itertuples(index=False, name=None)
    return table.assign(
        kind=[dose.kind_of(name) for name in table["compression"]],
        admitted=[bool(of.get(key, True)) for key in keys],
    )


def _alive(runs: pd.DataFrame) -> pd.Series:
    """Whether the method of each run leaves the dense network no worse than the label mapping alone, but for `DEAD`.

    Else its training has failed there, and what compression changes of it says nothing.
    """
    of = ["backbone", "target", "budget"]
    dense = runs[(runs["compression"] == "dense") & (runs["status"] == "ok")]
    means = dense.groupby([*of, "method"])["accuracy"].mean().unstack("method")
    if "mapping_only" not in means:
        return pd.Series(True, runs.index)
    failed = means.lt(means["mapping_only"] - DEAD, axis=0).groupby("backbone").any().stack()
    return ~pd.MultiIndex.from_frame(runs[["backbone", "method"]]).isin(failed.index[failed])


def _around(values: pd.Series, low: float, high: float) -> tuple[float, float]:
    """Limits around values, `low` and `high`, with room."""
    low, high = float(np.nanmin([*values, low])), float(np.nanmax([*values, high]))
    return low - ROOM * (high - low), high + ROOM * (high - low)


def _draw_points(axis, table: pd.DataFrame, limits, networks: list[str]) -> None:
    for (method, backbone, null, admitted), some in table.groupby(["method", "backbone", "null", "admitted"]):
        colour = style.method(method).colour
        look = {"color": colour, "marker": "x" if null else style.look(networks.index(backbone))["marker"], "ms": 4}
        x, y = (some[name].astype(float).clip(*of) for name, of in zip(("upstream", "value"), limits, strict=True))
        axis.plot(x, y, ls="", clip_on=False, **look | ({} if admitted else {"mfc": "white"}))


def _upstream(found: Evidence) -> str:
    known = [found.backbones[name].notna() for name in ("ece_debiased", "labelled_accuracy") if name in found.backbones]
    of_source = np.any(known, axis=0) if known else np.zeros(1, dtype=bool)
    if of_source.all():
        return "change of accuracy on the source task"
    return "change of agreement with dense" + (" (or of accuracy on the source task)" if of_source.any() else "")


def _sentence(heights) -> str:
    said = [
        f"{kind}: " + ", ".join(f"{style.method(name).label} {_interval(effect)}" for name, effect in of)
        for kind, of in heights.items()
    ]
    return f"Accuracy lost where nothing is lost upstream, by {'; by '.join(said)}." if said else NO_LINE


NO_LINE = f"No network has {dose.FEWEST} admitted compressions, which a line takes."


def _interval(effect) -> str:
    if not effect.n:
        return "—"
    if effect.n < 2:
        return f"{effect.mean:+.3f}"
    return f"{effect.mean:+.3f} [{effect.low:+.3f}, {effect.high:+.3f}]"


def table(report) -> pd.DataFrame:
    """Height and slope of each method's lines, with intervals over networks and test pictures."""
    if (found := living(report)) is None:
        return pd.DataFrame()
    rows = []
    methods = style.methods(report.runs["method"])
    for metric, words in RESPONSES.items():
        of = [(kind, method) for kind in dose.KINDS for method in methods]
        findings = iter(measured(lambda e, m=metric, of=of: [each for one in of for each in _parts(e, m, *one)], found))
        for (kind, method), (height, slope, less) in zip(
            of, zip(findings, findings, findings, strict=True), strict=True
        ):
            if height.effect.n:
                row = {"compression": kind, "change of": words, "method": style.method(method).label}
                row |= {"height [95 %]": _interval(height.effect), "slope [95 %]": _interval(slope.effect)}
                row |= {"height less the probe's": _interval(less.effect) if method != PROBE else "—"}
                row |= {"null controls": f"±{dose.margin(found, metric, method):.3f}"}
                rows.append(row | {"networks": len(height.networks)})
    return pd.DataFrame(rows)


def _parts(found: Evidence, metric: str, kind: str, method: str) -> list[Finding]:
    of, probe = (dose.lines_of(found, metric, name, kind) for name in (method, PROBE))
    return [dose.as_finding("", values) for values in (of["height"], of["slope"], of["height"] - probe["height"])]
