"""What final notebooks share: one scale, tables and figures that are kept where the pipeline asks, effects as text."""

import math
from types import SimpleNamespace

import pandas as pd
import pytest

from vpstudy.experiments import across, claims, hidden_cost, qprompt, vpns
from vpstudy.experiments.final import Final, with_columns
from vpstudy.figures import style, tables
from vpstudy.parameters.base import ParameterError
from vpstudy.parameters.study import load

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
