"""The cell that fetches pictures: what it writes, and that it never changes a split by itself."""

import json

import pytest
import torch
from pictures import folder

from studies import parameters, results
from studies.backbones.pictures import PicturesCell
from studies.parameters import read
from vpstudy import paths

CONTENT = read(paths.SCALES / "default/params.yaml")


@pytest.fixture
def cell(tmp_path, monkeypatch):
    """Makes a cell of the target `pens` with these keys in `pictures`; its files go to a folder of the test."""
    for name in ("PICTURES", "SPLITS", "TARGETS"):
        monkeypatch.setattr(paths, name, tmp_path / name)
    inner = results.path
    monkeypatch.setattr(results, "path", lambda of: inner(of, tmp_path / "results"))
    root = folder(tmp_path / "pens", {"blue_pen": 10, "red_pen": 15})

    def make(**keys) -> PicturesCell:
        pictures = {"pens": {"imagefolder": str(root)} | keys}
        return PicturesCell(parameters.validate(CONTENT | {"pictures": pictures}, "x"), "pens")

    return make


def written(tmp_path):
    folders = [tmp_path / name for name in ("SPLITS", "TARGETS", "results")]
    places = [place for each in folders for place in each.rglob("*.json")]
    return {place.relative_to(tmp_path).as_posix(): place.read_text() for place in places}


def save(one: PicturesCell) -> torch.Tensor:
    target = one.prepared.target(16)
    one.save(target)
    return target.pictures


def test_split_identity_and_result_are_written_and_come_out_the_same(cell, tmp_path):
    one = cell()
    assert len(one.prepared.originals().names) == 25 and written(tmp_path) == {}  # until it is saved
    pictures = save(one)
    first = written(tmp_path)
    assert set(first) == {"SPLITS/pens.json", "TARGETS/pens.json", "results/default/pictures/pictures-pens.json"}
    facts = json.loads(first["results/default/pictures/pictures-pens.json"])["checkpoints"][0]["facts"]
    assert facts["counts"] == {"pool": [8, 12], "test": [2, 3]}
    assert facts["originals"] == {"width": [12] * 3, "height": [9] * 3}
    assert torch.equal(save(cell()), pictures) and written(tmp_path) == first


def test_the_identity_changes_with_pictures_split_and_names(cell, tmp_path):
    def identity(**keys) -> str:
        (tmp_path / "SPLITS" / "pens.json").unlink(missing_ok=True)
        save(cell(**keys))
        return (tmp_path / "TARGETS" / "pens.json").read_text()

    keys = {"seed": 1, "class_names": ["a pen", "another pen"]}
    seen = [identity(), identity(seed=1), identity(**keys)]
    (tmp_path / "pens" / "red_pen" / "00.png").unlink()
    seen.append(identity(**keys))
    assert len(set(seen)) == 4 and identity(**keys) == seen[-1]


def test_pictures_that_changed_are_refused_and_the_split_stays(cell, tmp_path):
    save(cell())
    before = written(tmp_path)
    (tmp_path / "pens" / "red_pen" / "00.png").unlink()
    with pytest.raises(ValueError, match="class 'red_pen' has 14 pictures, and had 15"):
        save(cell())
    assert written(tmp_path) == before


def test_figures_show_every_class(cell):
    one = cell()
    counts, sizes = one.figures()
    assert [label.get_text() for label in counts.axes[0].get_yticklabels()] == ["blue_pen", "red_pen"]
    assert [bar.get_width() for bar in counts.axes[0].patches] == [8, 12, 2, 3]
    assert sizes.axes[0].lines[0].get_xydata().tolist() == [[12, 9]] * 25
    sheet = one.sheet(one.prepared.target(16))
    assert [text.get_text() for text in sheet.axes[0].texts] == ["blue_pen", "red_pen"]


def test_the_figure_of_counts_says_what_is_left_out(cell, tmp_path):
    (tmp_path / "pens" / "red_pen" / "1.gif").write_text("x")
    figure = cell().figures()[0]
    assert any(text.get_text() == "20 and 5 in all. Left out: 1 .gif." for text in figure.texts)
