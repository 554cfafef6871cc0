"""The papers' sets through torchvision: parts, labels and order, without a network."""

import inspect
from pathlib import Path

import numpy as np
import pytest
import torchvision
from pictures import picture
from torchvision import datasets

from vpstudy.data import torchvision_sets
from vpstudy.data.origin import origin_of
from vpstudy.data.registry import KNOWN, TORCHVISION


class Arrays:
    """Like torchvision's CIFAR10 once it is loaded; the real one unpickles its download."""

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


def save(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(path.stem).save(path)


def signs(root: Path) -> None:
    rows = ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"]
    for name, k in (("0_a", 0), ("0_b", 0), ("1_a", 1), ("1_b", 1)):
        save(root / "gtsrb" / "GTSRB" / "Training" / f"{k:05d}" / f"{name}.ppm")
    for name, k in (("1_t", 1), ("0_t", 0)):
        save(root / "gtsrb" / "GTSRB" / "Final_Test" / "Images" / f"{name}.ppm")
        rows.append(f"{name}.ppm;12;9;0;0;1;1;{k}")
    (root / "gtsrb" / "GT-final_test.csv").write_text("\n".join(rows))


def textures(root: Path) -> None:
    base = root / "dtd" / "dtd"
    (base / "labels").mkdir(parents=True)
    for part, names in {"train": ("1_a", "0_a"), "val": ("0_b", "1_b"), "test": ("1_t", "0_t")}.items():
        for name in names:
            save(base / "images" / name[0] / f"{name}.png")
        (base / "labels" / f"{part}1.txt").write_text("".join(f"{name[0]}/{name}.png\n" for name in names))


def pets(root: Path) -> None:
    base = root / "oxford-iiit-pet"
    (base / "annotations").mkdir(parents=True)
    for part, names in {"trainval": ("1_a", "1_b", "0_a", "0_b"), "test": ("1_t", "0_t")}.items():
        for name in names:
            save(base / "images" / f"{name}.jpg")
        rows = "".join(f"{name} {int(name[0]) + 1} 1 1\n" for name in names)
        (base / "annotations" / f"{part}.txt").write_text(rows)


@pytest.mark.parametrize(("name", "make"), [("GTSRB", signs), ("DTD", textures), ("OxfordIIITPet", pets)])
def test_labels_and_parts_go_with_their_files_in_the_order_of_paths(name, make, tmp_path):
    make(tmp_path)
    of = torchvision_sets.find(name, tmp_path)
    assert of.names == sorted(of.names) and len(of.names) == 6 and len(of.folders) == 2
    for i, place in enumerate(of.names):
        stem = Path(place).stem
        assert of.labels[i] == int(stem[0]) and of.in_test[i] == (stem[2] == "t")
        assert of.sizes[i] == (tmp_path / place).stat().st_size and Path(of.open(i).filename) == tmp_path / place


def test_a_set_without_parts_is_left_to_the_seeded_split(tmp_path):
    for name in ("AnnualCrop", "Forest"):
        for i in range(3):
            save(tmp_path / "eurosat" / "2750" / name / f"{name}_{i}.jpg")
    of = torchvision_sets.find("EuroSAT", tmp_path)
    assert of.in_test is None and of.folders == ["AnnualCrop", "Forest"] and of.labels.tolist() == [0] * 3 + [1] * 3


def test_every_picture_of_caltech_has_its_file(tmp_path):
    for name, count in (("ant", 2), ("Faces", 3), ("BACKGROUND_Google", 1)):
        for i in range(1, count + 1):
            save(tmp_path / "caltech101" / "101_ObjectCategories" / name / f"image_{i:04d}.jpg")
    (tmp_path / "caltech101" / "Annotations").mkdir()
    of, theirs = torchvision_sets.find("Caltech101", tmp_path), datasets.Caltech101(str(tmp_path))
    assert of.names[0] == "caltech101/101_ObjectCategories/Faces/image_0001.jpg" and of.folders == ["Faces", "ant"]
    assert of.labels.tolist() == theirs.y == [0] * 3 + [1] * 2
    for i, name in enumerate(of.names):
        assert of.open(i).convert("RGB").tobytes() == theirs[i][0].tobytes()
        assert of.sizes[i] == (tmp_path / name).stat().st_size > 0


def test_a_missing_set_is_named_with_what_to_do(tmp_path):
    with pytest.raises(ValueError, match=r"did not find DTD in .*Dataset not found.*vpstudy repro pictures.*by hand"):
        torchvision_sets.find("DTD", tmp_path)


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision_has_the_sets_and_takes_these_arguments(name):
    signature = inspect.signature(getattr(torchvision.datasets, name))
    for part in TORCHVISION[name]:
        for arguments in part:
            signature.bind("root", download=False, **arguments)


def test_every_known_set_is_either_torchvision_s_or_a_folder_with_steps():
    for alias, known in KNOWN.items():
        origin = origin_of(alias, {})
        assert (origin.torchvision in TORCHVISION) != bool(origin.imagefolder and known.steps), alias
        assert known.title and known.credit
    assert {known.origin.get("torchvision") for known in KNOWN.values()} - {None} == set(TORCHVISION)
