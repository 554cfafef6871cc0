"""Beside the parameters of each cell's notebook stands a table of their allowed values."""

import json

import pytest

from pipeline import normalise
from studies import allowed, grid
from vpstudy import paths
from vpstudy.compression.registry import FAMILIES

CELLS = [stage for stage in grid.STAGES if not grid.is_final(stage)]


@pytest.mark.parametrize("stage", CELLS)
def test_a_table_follows_the_parameters(stage):
    notebook = json.loads((paths.NOTEBOOKS / f"{grid.STAGES[stage].notebook}.ipynb").read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert "parameters" in code[0]["metadata"]["tags"]
    assert "".join(code[1]["source"]) == f'from studies import allowed\n\nallowed.table("{stage}")'
    shown = allowed.table(stage).data
    assert all(f">{name}<" in shown for name in normalise.parameters(notebook) if name != "save")


def test_the_table_names_what_the_registries_have():
    shown = allowed.table("transfer").data
    assert all(family.form in shown for family in FAMILIES.values()) and "photographs" in shown and "lite0" in shown
