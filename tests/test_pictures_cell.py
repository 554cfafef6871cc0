"""The cell that fetches pictures: what it writes, and that it never makes another split by itself."""

import json

import pytest
import torch
from pictures import folder
from ruamel.yaml import YAML

from studies import results
from studies.backbones.pictures import PicturesCell
from vpstudy import paths
from vpstudy import settings as base
from vpstudy.data import settings as pictures


@pytest.fixture
def cell(tmp_path, monkeypatch):
    """A cell whose files go to a folder of the test, and the folder of its pictures."""
    for name in ("PICTURES", "SPLITS", "TARGETS"):
        monkeypatch.setattr(paths, name, tmp_path / name)
    root = folder(tmp_path / "pens", {"blue_pen": 10, "red_pen": 15})
    content = YAML(typ="safe").load((paths.SCALES / "default/params.yaml").read_text())
    content["pictures"] = {"pens": {"imagefolder": str(root)}}
    monkeypatch.setattr(base, "read", lambda *_: content)
    monkeypatch.setattr(pictures, "read", lambda *_: content)
    inner = results.path
    monkeypatch.setattr(results, "path", lambda of: inner(of, tmp_path / "results"))
    return PicturesCell("default", "pens"), root, content


def written(tmp_path):
    folders = [tmp_path / name for name in ("SPLITS", "TARGETS", "results")]
    places = [place for each in folders for place in each.rglob("*.json")]
    return {place.relative_to(tmp_path).as_posix(): place.read_text() for place in places}


def test_split_identity_and_record_are_written_and_come_out_the_same(cell, tmp_path):
    one, _, _ = cell
    prepared = one.fetch()
    assert written(tmp_path) == {}  # until it is saved
    target = prepared.target(16)
    one.save(prepared, target)
    first = written(tmp_path)
    assert set(first) == {"SPLITS/pens.json", "TARGETS/pens.json", "results/default/pictures/pictures-pens.json"}
    record = json.loads(first["results/default/pictures/pictures-pens.json"])
    assert record["facts"]["counts"] == {"pool": [8, 12], "test": [2, 3]}
    assert record["facts"]["originals"] == {"width": [12] * 3, "height": [9] * 3}
    again = one.fetch()
    one.save(again, again.target(16))
    assert written(tmp_path) == first
    assert torch.equal(again.target(16).pictures, target.pictures)


def test_what_cells_depend_on_changes_with_pictures_split_and_names(cell, tmp_path):
    _, root, content = cell

    def identity() -> str:
        (tmp_path / "SPLITS" / "pens.json").unlink(missing_ok=True)
        made = PicturesCell("default", "pens")
        prepared = made.fetch()
        made.save(prepared, prepared.target(16))
        return (tmp_path / "TARGETS" / "pens.json").read_text()

    seen = [identity()]
    content["pictures"]["pens"]["seed"] = 1
    seen.append(identity())
    content["pictures"]["pens"]["class_names"] = ["a pen", "another pen"]
    seen.append(identity())
    (root / "red_pen" / "00.png").unlink()
    seen.append(identity())
    assert len(set(seen)) == 4 and identity() == seen[-1]


def test_pictures_that_changed_are_refused_and_the_split_stays(cell, tmp_path):
    one, root, _ = cell
    prepared = one.fetch()
    one.save(prepared, prepared.target(16))
    before = written(tmp_path)
    (root / "red_pen" / "00.png").unlink()
    with pytest.raises(ValueError, match="class 'red_pen' has 14 pictures, and had 15"):
        one.fetch()
    assert written(tmp_path) == before


def test_figures_show_every_class(cell):
    one, _, _ = cell
    prepared = one.fetch()
    counts, sizes = one.figures(prepared)
    assert [label.get_text() for label in counts.axes[0].get_yticklabels()] == ["blue_pen", "red_pen"]
    assert [bar.get_width() for bar in counts.axes[0].patches] == [8, 12, 2, 3]
    assert sizes.axes[0].lines[0].get_xydata().tolist() == [[12, 9]] * 25
    sheet = one.sheet(prepared.target(16))
    assert [axis.get_title() for axis in sheet.axes if axis.get_title()] == ["blue_pen", "red_pen"]
