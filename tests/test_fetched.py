"""Fetched targets: found, named, decoded once for all processes, and loaded like the embedded ones."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import folder, picture
from PIL import Image

from vpstudy import paths
from vpstudy.data import decoded, fetched, imagefolder, splits, targets
from vpstudy.data.decoding import decode
from vpstudy.data.settings import Pictures
from vpstudy.data.sources import SIGNS
from vpstudy.settings import ParameterError

ASSETS = Path(os.environ.get("VPSTUDY_ASSETS", paths.ROOT.parent / "shared/assets"))
PARAMS = "scale: default\npictures:\n  pens: {imagefolder: %s}\n"


@pytest.fixture
def pens(tmp_path, monkeypatch):
    """A target in a project of its own, split; its folder."""
    for name in ("PICTURES", "SPLITS", "RAW"):
        monkeypatch.setattr(paths, name, tmp_path / name)
    monkeypatch.setattr(paths, "PARAMS", tmp_path / "params.yaml")
    root = folder(tmp_path / "pens", {"blue_pen": 10, "red_pen": 15})
    paths.PARAMS.write_text(PARAMS % root)
    monkeypatch.setattr("vpstudy.data.settings.read", lambda: {"pictures": {"pens": {"imagefolder": str(root)}}})
    targets.load.cache_clear()
    source = Pictures(imagefolder=str(root))
    found = imagefolder.find(root)
    split = splits.choose(found, source)
    splits.write(paths.SPLITS / "pens.json", splits.record(found, split, source, found.folders))
    yield root
    targets.load.cache_clear()


def test_it_loads_as_an_embedded_target_does(pens):
    target = targets.load("pens", 8)
    assert target.pictures.shape == (25, 3, 8, 8) and target.pictures.dtype == torch.uint8
    assert target.labels.dtype == torch.int64 and target.class_names == ["blue_pen", "red_pen"]
    assert np.bincount(target.labels[target.test]).tolist() == [2, 3] and target.name == "pens"
    for i in (0, 9, 10, 24):
        original = picture(f"{target.class_names[target.labels[i]]}/{i % 10 if i < 10 else i - 10}")
        assert np.array_equal(target.pictures[i], decode(original, 8))


def test_other_sizes_have_the_same_labels_and_test_set(pens):
    small, large = targets.load("pens", 8), targets.load("pens", 16)
    assert torch.equal(small.labels, large.labels) and np.array_equal(small.test, large.test)
    assert sorted(path.stem for path in paths.PICTURES.glob("*.safetensors")) == ["pens-16", "pens-8"]


def test_a_second_load_decodes_nothing_and_gives_the_same(pens, monkeypatch):
    first = targets.load("pens", 8)
    targets.load.cache_clear()
    monkeypatch.setattr(decoded, "decode", lambda *_: pytest.fail("decoded anew"))
    assert torch.equal(targets.load("pens", 8).pictures, first.pictures)


def test_originals_are_not_looked_at_once_they_are_decoded_but_the_parameters_are(pens, monkeypatch):
    first = targets.load("pens", 8)
    targets.load.cache_clear()
    monkeypatch.setattr(fetched, "find", lambda *_: pytest.fail("listed the folder"))
    second = targets.load("pens", 8)
    assert torch.equal(second.labels, first.labels) and np.array_equal(second.test, first.test)
    assert (second.class_names, second.origin) == (first.class_names, first.origin)
    targets.load.cache_clear()
    changed = {"pens": {"imagefolder": str(pens), "test_share": 0.5}}
    monkeypatch.setattr("vpstudy.data.settings.read", lambda: {"pictures": changed})
    with pytest.raises(ValueError, match=r"test_share is 0\.5, and was 0\.2"):
        targets.load("pens", 8)


@pytest.mark.parametrize("damage", ["cut", "stale"])
def test_a_cache_that_does_not_fit_is_made_anew(pens, damage):
    first = targets.load("pens", 8).pictures.clone()
    path = paths.PICTURES / "pens-8.safetensors"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:50])
    else:
        from safetensors.torch import save_file

        save_file({"pictures": torch.zeros_like(first)}, path, metadata={"key": "of other pictures"})
    targets.load.cache_clear()
    assert torch.equal(targets.load("pens", 8).pictures, first)


def test_two_processes_at_once_decode_once_between_them(pens, tmp_path):
    code = f"""
import sys, time
from pathlib import Path
from vpstudy import paths
from vpstudy.data import decoded, imagefolder
import numpy as np
inner, count = decoded.decode, []
def slow(*given):
    time.sleep(0.02)
    count.append(1)
    return inner(*given)
decoded.decode = slow
found = imagefolder.find(Path({str(pens)!r}))
got = decoded.make(Path({str(tmp_path / "both.safetensors")!r}), "key", found, np.arange(25), 8)
print(len(count), int(got["pictures"].long().sum()))
"""
    started = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    counts, sums = zip(*(one.communicate()[0].split() for one in started), strict=True)
    assert sorted(counts) == ["0", "25"] and len(set(sums)) == 1


@pytest.mark.parametrize("content", [b"", b"no picture", None])
def test_a_damaged_picture_is_named(pens, content):
    path = pens / "red_pen" / "03.png"
    Image.fromarray(np.asarray(picture("a", (90, 90)))).save(path)
    path.write_bytes(path.read_bytes()[:-4000] if content is None else content)
    with pytest.raises(ValueError, match=r"^red_pen/03\.png: damaged, or no picture \(.+\); replace it, or remove"):
        decoded.make(paths.PICTURES / "x.safetensors", "key", imagefolder.find(pens), np.arange(25), 8)
    assert not list(paths.PICTURES.glob("*.safetensors"))


def test_no_room_is_told_before_anything_is_decoded(pens, monkeypatch):
    monkeypatch.setattr(decoded, "decode", lambda *_: pytest.fail("decoded"))
    monkeypatch.setattr(decoded.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(ValueError, match="GB are needed for decoded pictures"):
        targets.load("pens", 8)


def test_pictures_without_a_split_and_pictures_that_changed_are_refused(pens):
    (pens / "red_pen" / "14.png").unlink()
    with pytest.raises(ValueError, match="class 'red_pen' has 14 pictures, and had 15"):
        targets.load("pens", 8)
    (paths.SPLITS / "pens.json").unlink()
    with pytest.raises(ValueError, match=r"no data/splits/pens\.json yet; put pens into fetched"):
        targets.load("pens", 8)


def test_a_folder_that_is_not_there_is_told_with_what_to_do(pens, monkeypatch):
    with pytest.raises(
        ValueError, match=r"target cars: there is no folder data/raw/cars; .*cars_train_annos.*train/CLASS"
    ):
        fetched.find("cars", fetched.source_of("cars"))
    monkeypatch.delenv("IMAGENET", raising=False)
    with pytest.raises(ValueError, match=r"imagenet: the variable \$IMAGENET is not set; register at image-net"):
        fetched.find("imagenet", fetched.source_of("imagenet"))


def names(folders, alias="pens", **keys):
    return fetched.class_names(alias, Pictures(imagefolder="x", **keys), folders)


def test_classes_are_called_as_asked_else_as_known_else_as_their_folders(tmp_path):
    numbers = [f"{k:05d}" for k in range(43)]
    assert names(numbers, "gtsrb")[14] == SIGNS[14] == "stop" and len(set(SIGNS)) == 43
    assert names(numbers) == numbers and names(["a", "b"], "gtsrb") == ["a", "b"]
    assert names(["a", "b"], class_names=["x", "y"]) == ["x", "y"]
    (tmp_path / "n.txt").write_text("first one\nsecond\n")
    assert names(["a", "b"], class_names=str(tmp_path / "n.txt")) == ["first one", "second"]
    with pytest.raises(ValueError, match="1 different names for 2 classes"):
        names(["a", "b"], class_names=["x", "x"])


def test_wordnet_ids_are_read_and_stay_different():
    assert names(["n01440764", "n02123045"]) == ["tench", "tabby"]
    thousand = names([str(k) for k in range(1000)])
    assert thousand[0] == "tench" and len(set(thousand)) == 1000  # crane, the bird, and crane, the machine, too


def test_a_zip_of_another_checksum_is_refused_when_it_is_fetched(pens):
    import hashlib
    import shutil

    zipped = Path(shutil.make_archive(str(pens), "zip", pens))
    right = hashlib.sha256(zipped.read_bytes()).hexdigest()
    assert len(fetched.find("pens", Pictures(imagefolder=str(zipped), sha256=right), download=True).names) == 25
    with pytest.raises(ValueError, match=r"pens\.zip: its SHA-256 is"):
        fetched.find("pens", Pictures(imagefolder=str(zipped), sha256="0" * 64), download=True)


def test_an_alias_that_nobody_knows_is_refused(pens):
    with pytest.raises(ValueError, match="'pencils' is not registered; choose one of digits"):
        targets.load("pencils")
    with pytest.raises(ParameterError, match="no entry of pictures in params"):
        fetched.source_of("pencils")


@pytest.mark.parametrize(
    ("alias", "file", "classes", "pool", "test"),
    [("gtsrb", "gtsrb32.zip", 43, 3920, 6000), ("cifar10", "cifar10-4k.zip", 10, 3000, 1000)],
)
def test_real_sets_from_zips(alias, file, classes, pool, test, tmp_path, monkeypatch):
    place = ASSETS / "data" / file
    if not place.exists():
        pytest.skip(f"{file} is not among the assets")
    monkeypatch.setattr(paths, "PICTURES", tmp_path)
    source = Pictures(imagefolder=str(place))
    found = fetched.find(alias, source)
    split = splits.choose(found, source)
    assert (len(split.pool), len(split.test), len(found.folders)) == (pool, test, classes)
    prepared = fetched.Prepared(alias, source, found, fetched.class_names(alias, source, found.folders), split)
    target = prepared.target(32)
    assert target.pictures.shape == (pool + test, 3, 32, 32) and len(target.class_names) == classes
    assert not (set(target.test) & set(np.setdiff1d(np.arange(len(target.labels)), target.test)))
    place = int(np.flatnonzero(np.union1d(split.pool, split.test) == split.test[7])[0])
    assert np.array_equal(target.pictures[place], decode(found.open(int(split.test[7])), 32))
    if alias == "gtsrb":
        assert target.class_names[14] == "stop"
