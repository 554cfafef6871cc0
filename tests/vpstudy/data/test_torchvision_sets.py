"""The papers' sets through torchvision: parts, labels and order, without a network."""

import inspect
import json
from pathlib import Path

import numpy as np
import pytest
import torchvision
from pictures import picture
from torchvision import datasets

from vpstudy.data import torchvision_sets
from vpstudy.data.decoding import decode
from vpstudy.data.origin import origin_of
from vpstudy.data.registry import KNOWN, TORCHVISION


class Arrays:
    """As torchvision's CIFAR10 is once it is loaded; the real one unpickles what it downloaded."""

    classes = ("plane", "car")

    def __init__(self, root, train=True, download=False):
        self.fake = datasets.FakeData(6 if train else 4, (3, 9, 9), 2, random_offset=0 if train else 50)
        self.targets = [int(self.fake[i][1]) for i in range(len(self.fake))]

    def __getitem__(self, i):
        return self.fake[i]


def test_sets_of_arrays_are_numbered_train_and_test_apart(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets, "CIFAR10", Arrays)
    of = torchvision_sets.find("CIFAR10", tmp_path)
    assert of.names == [f"test/{i:06d}" for i in range(4)] + [f"train/{i:06d}" for i in range(6)]
    assert of.in_test.tolist() == [True] * 4 + [False] * 6 and of.folders == ["plane", "car"]
    for part, start, count in ((False, 0, 4), (True, 4, 6)):
        one = Arrays(None, train=part)
        assert of.labels[start : start + count].tolist() == one.targets
        for i in range(count):
            assert np.array_equal(np.asarray(of.open(start + i)), np.asarray(one[i][0]))


@pytest.fixture
def signs(tmp_path):
    """A root as torchvision's GTSRB leaves it: three signs to train, two to test."""
    base = tmp_path / "gtsrb"
    for k in (0, 14):
        (base / "GTSRB" / "Training" / f"{k:05d}").mkdir(parents=True)
        picture(f"train {k}").save(base / "GTSRB" / "Training" / f"{k:05d}" / "00000_00000.ppm")
    picture("more").save(base / "GTSRB" / "Training" / "00014" / "00000_00001.ppm")
    tests = base / "GTSRB" / "Final_Test" / "Images"
    tests.mkdir(parents=True)
    rows = ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"]
    for i, k in enumerate((1, 0)):
        picture(f"test {i}").save(tests / f"{i:05d}.ppm")
        rows.append(f"{i:05d}.ppm;12;9;0;0;1;1;{k}")
    (base / "GT-final_test.csv").write_text("\n".join(rows))
    return tmp_path


def test_sets_of_files_are_in_the_order_of_their_paths(signs):
    of = torchvision_sets.find("GTSRB", signs)
    start = "gtsrb/GTSRB"
    assert of.names == [
        *(f"{start}/Final_Test/Images/0000{i}.ppm" for i in (0, 1)),
        f"{start}/Training/00000/00000_00000.ppm",
        *(f"{start}/Training/00014/00000_0000{i}.ppm" for i in (0, 1)),
    ]
    assert of.labels.tolist() == [1, 0, 0, 1, 1] and of.in_test.tolist() == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert all((signs / name).stat().st_size == size for name, size in zip(of.names, of.sizes, strict=True))
    assert np.array_equal(decode(of.open(4), 9), decode(picture("more"), 9))


def test_a_set_without_parts_is_left_to_the_seeded_split(tmp_path):
    for name in ("AnnualCrop", "Forest"):
        (tmp_path / "eurosat" / "2750" / name).mkdir(parents=True)
        for i in range(3):
            picture(f"{name}{i}").save(tmp_path / "eurosat" / "2750" / name / f"{name}_{i}.jpg")
    of = torchvision_sets.find("EuroSAT", tmp_path)
    assert of.in_test is None and of.folders == ["AnnualCrop", "Forest"] and of.labels.tolist() == [0] * 3 + [1] * 3


def describable(root):
    base = root / "dtd" / "dtd"
    (base / "labels").mkdir(parents=True)
    for part, names in {"train": ("b/1", "a/2"), "val": ("a/1", "b/0"), "test": ("b/9", "a/0")}.items():
        for name in names:
            (base / "images" / name).parent.mkdir(parents=True, exist_ok=True)
            picture(name).save(base / "images" / f"{name}.png")
        (base / "labels" / f"{part}1.txt").write_text("".join(f"{name}.png\n" for name in names))


def food(root):
    base = root / "food-101"
    (base / "meta").mkdir(parents=True)
    for part, meta in {
        "train": {"b": ["b/1", "b/0"], "a": ["a/1", "a/2"]},
        "test": {"b": ["b/9"], "a": ["a/0"]},
    }.items():
        for names in meta.values():
            for name in names:
                (base / "images" / name).parent.mkdir(parents=True, exist_ok=True)
                picture(name).save(base / "images" / f"{name}.jpg")
        (base / "meta" / f"{part}.json").write_text(json.dumps(meta))


def pets(root):
    base = root / "oxford-iiit-pet"
    (base / "annotations").mkdir(parents=True)
    (base / "images").mkdir()
    parts = {"trainval": ("b_1 2", "b_0 2", "a_1 1", "a_2 1"), "test": ("b_9 2", "a_0 1")}
    for part, rows in parts.items():
        for row in rows:
            name = row.split()[0]
            picture(name.replace("_", "/")).save(base / "images" / f"{name}.jpg")
        (base / "annotations" / f"{part}.txt").write_text("".join(f"{row} 1 1\n" for row in rows))


@pytest.mark.parametrize(("name", "make"), [("DTD", describable), ("Food101", food), ("OxfordIIITPet", pets)])
def test_labels_and_parts_go_with_their_files(name, make, tmp_path):
    make(tmp_path)
    of = torchvision_sets.find(name, tmp_path)
    assert of.names == sorted(of.names) and [folder.lower() for folder in of.folders] == ["a", "b"]
    rows = {}
    for place, label, in_test in zip(of.names, of.labels, of.in_test, strict=True):
        short = Path(place).with_suffix("").as_posix().split("/images/")[1].replace("_", "/")
        rows[short] = (of.folders[label].lower(), in_test)
    assert all(short.startswith(folder) for short, (folder, _) in rows.items())
    assert {short for short, (_, in_test) in rows.items() if in_test} == {"b/9", "a/0"} and len(rows) == 6


def test_a_set_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"did not find DTD in .*Dataset not found.*vpstudy repro pictures.*by hand"):
        torchvision_sets.find("DTD", tmp_path)


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision_has_the_sets_and_takes_these_arguments(name):
    signature = inspect.signature(getattr(torchvision.datasets, name))
    assert "download" in signature.parameters
    for part in TORCHVISION[name]:
        for how in part:
            signature.bind("root", download=False, **how)


def test_every_known_set_is_either_torchvision_s_or_a_folder_with_steps():
    for alias, known in KNOWN.items():
        origin = origin_of(alias, {})
        assert (origin.torchvision in TORCHVISION) != bool(origin.imagefolder and known.steps), alias
        assert known.title and known.made_by
    assert {known.origin.get("torchvision") for known in KNOWN.values()} - {None} == set(TORCHVISION)
