"""What final notebooks share: one scale, tables and figures that are kept where the pipeline asks, effects as text."""

import copy
import json
import math
from types import SimpleNamespace

import pandas as pd
import pytest
from studies.optional import STUDIES as OPTIONAL

from studies import final as final_module
from studies import grid
from studies.across import report as across
from studies.claims import ledger
from studies.claims import report as claims
from studies.figures import style, tables
from studies.final import Final, with_columns
from studies.hidden_cost import report as hidden_cost
from studies.parameters import load, validate
from studies.qprompt import report as qprompt
from studies.vpns import report as vpns
from vpstudy import paths
from vpstudy.settings import ParameterError, read

STUDIES = (
    hidden_cost.HiddenCostStudy,
    vpns.VpnsStudy,
    qprompt.QpromptStudy,
    across.AcrossStudy,
    claims.ClaimsLedger,
)


@pytest.mark.parametrize("study", STUDIES)
def test_a_scale_that_is_not_in_place_is_refused(study):
    with pytest.raises(ParameterError, match=r"'elsewhere' was asked for, but params\.yaml holds"):
        study("elsewhere", save=False)


@pytest.mark.parametrize("save", [True, False])
def test_tables_and_figures_are_kept_where_asked(save, tmp_path):
    final = Final(load().scale, save, "study")
    final.folder = tmp_path
    table = pd.DataFrame({"a": [1]})
    assert final.table("numbers", table) is table
    final.show("picture", style.new_figure(1, 1, 1.0)[0])
    found = {path.name for path in tmp_path.iterdir()}
    assert found == ({"numbers.csv", "numbers.md", "picture.png", "picture.svg"} if save else set())


def test_results_without_metrics_have_their_columns():
    read = SimpleNamespace(frame=pd.DataFrame({"seed": [0], "accuracy": [0.5]}))
    assert list(with_columns(read, "accuracy", "nll").columns) == ["seed", "accuracy", "nll"]


def test_effects_are_told_with_their_interval():
    effect = SimpleNamespace(mean=0.01234, low=-0.0021, high=0.0219)
    assert tables.interval_text(effect) == "+0.012 [-0.002, +0.022]"
    assert tables.interval_text(effect, 4) == "+0.0123 [-0.0021, +0.0219]"
    assert tables.interval_text(SimpleNamespace(mean=-0.5, low=math.nan, high=math.nan)) == "-0.500"


@pytest.fixture
def only(tmp_path, monkeypatch):
    """Parameters that hold one study alone; what is kept goes to a temporary folder."""
    for name in ("FIGURES", "RESULTS"):
        monkeypatch.setattr(paths, name, tmp_path / name.lower())

    def put(study):
        content = copy.deepcopy(read(paths.SCALES / "default.yaml")) | {"clips": [], "backbones": []}
        for name in {*OPTIONAL} - {study}:
            content[name]["backbones"] = []
        content["backbones"] = ["cnn"] if study == "hidden_cost" else []
        parameters = validate(content, "params.yaml")
        monkeypatch.setattr(final_module, "load", lambda: parameters)
        return parameters

    return put


def run_page(stage, save=True):
    """Run the code of a final notebook; only that of the parameters is left out."""
    page = json.loads((paths.NOTEBOOKS / f"{grid.STAGES[stage].notebook}.ipynb").read_text())
    names = {"scale": "default", "save": save}
    for cell in page["cells"]:
        if cell["cell_type"] == "code" and "parameters" not in cell["metadata"].get("tags", []):
            exec("".join(cell["source"]), names)
    return names


@pytest.mark.parametrize(
    ("stage", "other"), [("hidden_cost", "vpns"), ("vpns", "hidden_cost"), ("qprompt", "vpns"), ("across", "vpns")]
)
def test_the_page_of_a_study_that_is_left_out_says_so(stage, other, only, capsys):
    only(other)
    run_page(stage)
    lines = capsys.readouterr().out.splitlines()
    assert lines and set(lines) == {"not run at this scale"}
    assert len(lines) == 1 or stage == "qprompt"  # whose protocols say it for themselves
    assert [path.name for path in (paths.FIGURES / "default" / stage).iterdir()] == ["not_run.md"]


def test_a_page_that_is_tried_changes_nothing_on_disk(only, tmp_path):
    only("vpns")
    run_page("across", save=False)
    assert list(tmp_path.iterdir()) == []


def test_claims_of_what_is_left_out_are_not_run(only):
    only("vpns")
    power = run_page("claims")["claims"].expected_power()
    assert len(power) == 1 and "V" in power["claim"][0]
    records = ledger.read("default")
    every = [claim.id for module in (claims.hidden_cost, claims.vpns, claims.qprompt) for claim in module.CLAIMS]
    assert [record["id"] for record in records] == every
    verdicts = {
        study: {r["verdict"] for r in records if r["study"] == study} for study in ("hidden_cost", "vpns", "qprompt")
    }
    assert verdicts["hidden_cost"] == verdicts["qprompt"] == {"not run at this scale"}
    assert {"reproduced", "contradicted", "inconclusive"} & verdicts["vpns"]  # from its committed results
