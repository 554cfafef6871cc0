"""Axes to cells: which there are, what they are called, and in which order they come."""

import pytest
from ruamel.yaml import YAML

from studies import grid
from studies import parameters as study
from studies.cells import Cell
from vpstudy import paths
from vpstudy.data.registry import EMBEDDED

DEFAULT = study.load(paths.SCALES / "default/params.yaml")


def test_the_cells_are_the_product_of_the_axes():
    cells = grid.cells(DEFAULT)
    assert len(cells) == len(set(cells)) == 1 + 3 + 1 + 8 + 8 * 2 + 5 + 12 + 3 * (1 + 9) + 3 + 5
    assert [cell.stage for cell in cells] == sorted((c.stage for c in cells), key=list(grid.STAGES).index)
    assert {cell.axes[-1][1] for cell in grid.cells(DEFAULT, "transfer")} == {"digits", "letters"}
    assert grid.cells(DEFAULT, "hidden_cost") == [Cell("hidden_cost", "hidden_cost", "default")]


def test_names_are_those_that_dvc_makes_of_the_matrix():
    cell = grid.cell("transfer", "default", "cnn", "imp-0.80", "digits")
    assert cell.name == "transfer@cnn-imp-0.80-digits"
    assert cell.file == "transfer-cnn-imp-0.80-digits"
    assert cell.study == "hidden_cost"
    assert dict(cell.axes) == {"backbone": "cnn", "compression": "imp-0.80", "target": "digits"}
    assert grid.cell("hidden_cost", "smoke").name == "hidden_cost"


def test_names_and_files_are_unique():
    cells = grid.cells(DEFAULT)
    assert len({cell.name for cell in cells}) == len({(cell.study, cell.file) for cell in cells}) == len(cells)


def test_axes_are_those_of_the_stage():
    content = DEFAULT.model_copy(update={"pretrained": ["cnn", "vit"]})
    assert [cell.name for cell in grid.cells(content, "source")] == ["source@cnn", "source@vit"]
    assert [cell.name for cell in grid.cells(content, "imp")] == ["imp@cnn", "imp@vit"]
    content = DEFAULT.model_copy(update={"outside": ["mobile"], "backbones": ["cnn", "mobile"]})
    assert [cell.name for cell in grid.cells(content, "weights")] == ["weights@mobile"]
    assert [cell.name for cell in grid.cells(content, "imp")] == ["imp@cnn"]  # others have no rounds
    assert {dict(cell.axes)["backbone"] for cell in grid.cells(content, "compress")} == {"cnn", "mobile"}
    assert grid.cells(DEFAULT, "prune_with_prompts")[0].name == "prune_with_prompts@cnn-digits-dense"


def test_fetched_targets_have_a_stage_each_which_comes_first():
    content = DEFAULT.model_copy(update={"fetched": ["gtsrb", "dtd"]})
    assert [cell.name for cell in grid.cells(content)[:2]] == ["pictures@gtsrb", "pictures@dtd"]
    assert grid.cells(DEFAULT, "pictures") == []


def test_every_kind_of_target_is_one_kind_of_dependency():
    stages = YAML(typ="safe").load((paths.ROOT / "dvc.yaml").read_text())["stages"]
    assert "data/targets/${item.target}.json" in stages["pictures"]["outs"]
    embedded = {f"data/targets/{name}.json" for name in EMBEDDED}
    assert embedded <= set(stages["code"]["outs"])
    for name in grid.STAGES:
        if "target" in stages[name].get("matrix", ()) and name not in ("pictures", "other_pictures"):
            assert "data/targets/${item.target}.json" in stages[name]["deps"]
    # These measure on several targets, so that no axis tells which: fetched ones, and those in their lists of code.
    for name in ("clip_source", "other_pictures"):
        assert {f"data/code/{name}.json", "data/results/${scale}/pictures"} <= set(stages[name]["deps"])
    assert "data/results/${scale}/pictures/pictures-${item.target}.json" in str(stages["pictures"]["outs"])


def test_unknown_stages_and_wrong_numbers_of_values_say_what_is_allowed():
    with pytest.raises(ValueError, match="'transfr' is no stage; allowed: pictures, source, weights, imp"):
        grid.cell("transfr", "default")
    with pytest.raises(ValueError, match="transfer takes: backbone compression target; given: cnn"):
        grid.cell("transfer", "default", "cnn")


def test_dvc_has_the_same_stages_and_commands():
    stages = YAML(typ="safe").load((paths.ROOT / "dvc.yaml").read_text())["stages"]
    assert set(stages) - {"code"} == set(grid.STAGES)
    for name, stage in grid.STAGES.items():
        items = [f"${{item.{axis}}}" for axis in stages[name].get("matrix", {})]
        assert stages[name]["cmd"] == " ".join(["vpstudy run", name, *items])
        assert f"data/code/{name}.json" in stages[name]["deps"]
        assert f"notebooks/{stage.notebook}.ipynb" in stages["code"]["deps"]
        assert f"data/code/{name}.json" in stages["code"]["outs"]
