"""Folders and zips of class folders: what is found in them, and one clear error for each that is wrong."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torchvision
from pictures import folder, picture

from vpstudy.data import imagefolder

PARTS = {"train/b": 3, "train/a": 4, "test/a": 2, "test/b": 1}


def zipped(root: Path) -> Path:
    return Path(shutil.make_archive(str(root), "zip", root))


def test_train_and_test_are_what_torchvision_finds(tmp_path):
    root = folder(tmp_path / "signs", PARTS)
    of = imagefolder.find(root)
    assert of.names == sorted(of.names) and of.folders == ["a", "b"]
    for part, is_test in (("train", False), ("test", True)):
        theirs = torchvision.datasets.ImageFolder(str(root / part))
        mine = of.in_test == is_test
        names = [str(root / name) for name, m in zip(of.names, mine, strict=True) if m]
        assert names == [path for path, _ in theirs.samples]
        assert of.labels[mine].tolist() == theirs.targets and of.folders == theirs.classes
    for i, name in enumerate(of.names):
        assert of.open(i).tobytes() == picture(f"{name[:-7]}/{int(name[-6:-4])}").tobytes()
        assert of.sizes[i] == (root / name).stat().st_size


@pytest.mark.parametrize("around", ["", "one/", "one/two/"])
def test_a_zip_is_as_its_folder_and_folders_around_do_not_matter(tmp_path, around):
    plain = imagefolder.find(folder(tmp_path / "plain", PARTS))
    root = tmp_path / "signs"
    folder(root / around if around else root, PARTS)
    (root / "__MACOSX").mkdir()
    (root / ".hidden.png").write_text("")
    for location in (root, zipped(root)):
        of = imagefolder.find(location)
        assert of.fingerprint == plain.fingerprint
        assert all(of.open(i).tobytes() == plain.open(i).tobytes() for i in range(len(of.names)))


def test_one_part_has_no_test_set_and_numbers_are_in_their_order(tmp_path):
    of = imagefolder.find(folder(tmp_path / "f", {"10": 2, "9": 3, "1/deep": 2}))
    assert of.in_test is None and of.folders == ["1", "9", "10"]
    assert np.bincount(of.labels).tolist() == [2, 3, 2]


def test_val_is_the_test_set_only_where_there_is_no_other(tmp_path):
    alone = imagefolder.find(folder(tmp_path / "a", {"train/x": 2, "train/y": 2, "val/x": 1, "val/y": 1}))
    assert alone.in_test.sum() == 2
    beside = {"train/x": 2, "train/y": 2, "val/x": 1, "test/y": 1, "other/z": 1}
    of = imagefolder.find(folder(tmp_path / "b", beside))
    assert [n for n, t in zip(of.names, of.in_test, strict=True) if t] == ["test/y/00.png"]
    assert len(of.names) == 6


@pytest.mark.parametrize("as_zip", [False, True])
@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"notes": 0}, "there are no pictures in it; expected: train/CLASS/"),
        ({"a": 2, "b": 2, "c": 0}, "class folders without pictures: c; fill or remove"),
        ({"train/a": 2, "train/b": 1, "test/a": 1, "test/b": 0}, "class folders without pictures: test/b"),
        ({"train/a": 2, "train/b": 1, "test/a": 1, "test/c": 1}, "test/ has classes that train/ lacks: c"),
        ({"only": 3}, "only/02.png in no class folder"),
        ({"train": 2, "train/a": 1, "train/b": 1, "test/a": 1}, "train/00.png, train/01.png in no class folder"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, counts, said, as_zip):
    root = folder(tmp_path / "f", {})
    root.mkdir()
    for place, count in counts.items():
        (root / place).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            picture("a").save(root / place / f"{i:02d}.png")
    with pytest.raises(ValueError, match=said):
        imagefolder.find(zipped(root) if as_zip else root)


def test_a_file_that_is_no_zip_is_named(tmp_path):
    (tmp_path / "a.zip").write_text("no")
    with pytest.raises(ValueError, match=r"a\.zip: File is not a zip file; get the file again"):
        imagefolder.find(tmp_path / "a.zip")
