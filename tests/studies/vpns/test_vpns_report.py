"""The report of vpns on made-up results: each figure and table is made, and what is lacking is said."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from pipeline import scales
from studies import grid, results
from studies.rows import lost, png, row
from studies.vpns import cell_figures, tables
from studies.vpns.evidence import ADDED
from studies.vpns.report import VpnsReport
from vpstudy import paths
from vpstudy.training.mask_search.methods import CONTROLS, METHODS

PRUNERS = ["dense", "omp", "snip", "grasp", "hydra", "vpns", "vpns_no_prompt", "hydra_adam", "vpns_mask_only"]
PRUNERS += ["depgraph", "slimming", "vpns_channels"]
LAYERS = {"a.weight": 0.0, "b.weight": 0.25}
NETWORK = {"macs": 10, "parameters": 5}
TRIED = [{"factor": factor, "validation_accuracy": factor / 8, "validation_nll": 1.0} for factor in (1.0, 4.0)]


def made_up(pruner: str, settings) -> list[dict]:
    """Rows of a cell: random answers of every arm that there could be; one run has diverged."""
    draw, rows = np.random.default_rng(len(pruner)), []
    role = METHODS[pruner].role
    sparsities = {"dense": [0.0], "channels": settings.channel_ratios}.get(role, settings.sparsities)
    arms = ["main", *(["published"] if METHODS[pruner].published else [])]
    for arm in (*arms, *(name for name in CONTROLS if pruner in CONTROLS[name].methods)):
        for view in ("bare", "prompted") if METHODS[pruner].tuning_prompt or arm in (*ADDED, "prompted") else ("bare",):
            for sparsity in sparsities:
                for seed in (0, 1):
                    name, of = f"{arm} {sparsity:g} {view}", {"budget": 5, "seed": seed}
                    more = {
                        "arm": arm,
                        "sparsity": sparsity,
                        "view": view,
                        "factor": 1.0,
                        "passes": 8,
                        "collapsed": False,
                    }
                    chances, labels = draw.dirichlet([1] * 4, 60), draw.integers(4, size=60)
                    failed = pruner == "snip" and arm == "main" and seed == 1
                    rows.append((lost(name, "too far", **of) if failed else row(name, chances, labels, **of)) | more)
    return rows


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Of every kind of method; one cell is missing."""
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "FIGURES", folder / "figures")
        patch.setattr(paths, "RESULTS", folder / "results")
        patch.setattr(Figure, "savefig", lambda *_, **__: None)  # laid out and drawn at the smoke scale
        patch.setattr("studies.report.preview", lambda figure: figure)
        patch.setattr(ConstrainedLayoutEngine, "execute", lambda *_: None)
        yield made_up_report()


def made_up_report() -> VpnsReport:
    parameters = scales.parameters("smoke")
    vpns = parameters.vpns
    vpns = vpns.model_copy(update={"axes": vpns.axes.model_copy(update={"pruners": PRUNERS})})
    parameters = parameters.model_copy(update={"vpns": vpns})
    for cell in grid.cells(parameters, "prune_with_prompts"):
        axes = dict(cell.axes)
        if axes["pruner"] == "grasp":
            continue
        rows = made_up(axes["pruner"], vpns.settings)
        facts = {"layers": {"0.5": LAYERS}, "tuning": [{"arm": "main", "sparsity": 0.5, "tried": TRIED}]}
        facts["networks"] = {f"{sparsity:g}": NETWORK for sparsity in {each["sparsity"] for each in rows}}
        identity = {"stage": cell.stage, "study": cell.study, "scale": cell.scale, **axes}
        content = {"cell": identity, "environment": {}, "facts": facts, "rows": rows}
        results.write(results.path(cell), [content])
        results.prompt_path(cell).write_bytes(png(vpns.settings.make_prompt(0).picture()))
    return VpnsReport(parameters, save=True)


def test_every_figure_and_table_is_made_and_what_is_lacking_is_said(report, capsys):
    report.coverage()
    said = capsys.readouterr().out
    assert f"{len(PRUNERS) - 1} cells" in said and "Runs that diverged: 1." in said
    assert "missing: prune_with_prompts@cnn-digits-grasp" in said
    for name in (*report.figures, *report.tables):
        report.show(name)
    assert "not run at this scale" not in capsys.readouterr().out
    assert {path.stem for path in report.folder.glob("*.png")} == set(report.figures)
    assert {path.stem for path in report.folder.glob("*.csv")} == set(report.tables)


def test_the_chosen_factor_is_that_of_the_best_validation(report):
    table = report.tables["tuning"](report).set_index(["arm", "factor"])
    assert table["chosen"].loc["OMP"].to_dict() == {1.0: 0, 4.0: 1}


def test_sizes_of_networks_go_by_the_ratio_asked_for():
    cell = {"target": "digits", "pruner": "depgraph"}
    contents = [{"cell": cell, "facts": {"networks": {"0.3": NETWORK | {"macs": macs}}}} for macs in (10, 20)]
    (size,) = tables.sizes(contents).to_dict("records")
    assert (size["sparsity"], size["macs"]) == (0.3, 15)


def test_a_cell_counts_runs_that_diverged():
    rows = made_up("snip", scales.parameters("smoke").vpns.settings)
    (axis,) = cell_figures.accuracy(rows, 4).axes
    assert "✕ 1 of 2" in [text.get_text() for text in axis.texts]
