"""Fetched targets: named, split by their file, decoded once for all processes, and loaded like embedded ones."""

import hashlib
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from assets import needed_by
from pictures import folder, picture
from safetensors.torch import save_file

from pipeline import scales
from vpstudy import paths
from vpstudy.data import decoding, fetched, splits, target
from vpstudy.data.decoding import decode
from vpstudy.data.origin import Origin, origin_of
from vpstudy.settings import ParameterError


@pytest.fixture
def pens(tmp_path, monkeypatch):
    """The section `pictures` with a target that is split already; its folder is `tmp_path / "pens"`."""
    for name in ("PICTURES", "SPLITS", "RAW"):
        monkeypatch.setattr(paths, name, tmp_path / name)
    pictures = {"pens": Origin(imagefolder=str(folder(tmp_path / "pens", {"blue_pen": 10, "red_pen": 15})))}
    ready = fetched.prepare("pens", pictures["pens"])
    file = splits.content(ready.originals(), ready.partition, pictures["pens"], ready.class_names)
    splits.write(splits.path_of("pens"), file)
    yield pictures
    target._load.cache_clear()


def load(pictures, size=8):
    target._load.cache_clear()
    return target.load("pens", size, pictures)


def test_it_loads_as_an_embedded_target_does(pens):
    loaded, large = load(pens), load(pens, 16)
    assert loaded.pictures.shape == (25, 3, 8, 8) and loaded.pictures.dtype == torch.uint8
    assert loaded.labels.dtype == torch.int64 and loaded.class_names == ["blue_pen", "red_pen"]
    assert np.bincount(loaded.labels[loaded.test]).tolist() == [2, 3] and loaded.name == "pens"
    for i in (0, 9, 10, 24):
        original = picture(f"{loaded.class_names[loaded.labels[i]]}/{i % 10 if i < 10 else i - 10}")
        assert np.array_equal(loaded.pictures[i], decode(original, 8))
    assert torch.equal(loaded.labels, large.labels) and np.array_equal(loaded.test, large.test)
    assert sorted(path.name for path in paths.PICTURES.glob("p*")) == ["pens-16.safetensors", "pens-8.safetensors"]


def test_originals_are_listed_once_for_each_size_but_parameters_are_compared_each_time(pens, monkeypatch):
    first = load(pens)
    monkeypatch.setattr(fetched, "find", lambda *_: pytest.fail("listed the folder"))
    second = load(pens)
    assert torch.equal(second.pictures, first.pictures) and np.array_equal(second.test, first.test)
    assert (second.class_names, second.credit) == (first.class_names, first.credit)
    with pytest.raises(ValueError, match=r"test_share is 0\.5, and was 0\.2"):
        load({"pens": pens["pens"].model_copy(update={"test_share": 0.5})})


@pytest.mark.parametrize("damage", ["truncated", "other pictures", "other version"])
def test_a_stale_cache_is_written_again(pens, damage):
    first, path = load(pens).pictures.clone(), paths.PICTURES / "pens-8.safetensors"
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:50])
    elif damage == "other pictures":
        save_file({"pictures": torch.zeros_like(first)}, path, metadata={"key": "of other pictures"})
    else:
        path.unlink()
        with pytest.MonkeyPatch.context() as context:
            context.setattr(decoding, "VERSION", 0)
            context.setattr(decoding, "decode", lambda *_: np.zeros((3, 8, 8)))
            assert not load(pens).pictures.any()
    assert torch.equal(load(pens).pictures, first)


def test_two_processes_at_once_decode_once_between_them(pens, tmp_path, monkeypatch):
    """This one decodes nothing until the other asks for the lock, which then waits and finds the pictures."""
    code = f"""
from pathlib import Path
import numpy as np
from vpstudy import paths
from vpstudy.data import decoding, imagefolder
class Lock(decoding.FileLock):
    def __enter__(self):
        print("asks", flush=True)
        return super().__enter__()
decoding.FileLock, inner, count = Lock, decoding.decode, []
decoding.decode = lambda *given: count.append(1) or inner(*given)
originals = lambda: imagefolder.find(Path({pens["pens"].imagefolder!r}))
paths.PICTURES = Path({str(paths.PICTURES)!r})
got = decoding.tensors("both", "key", originals, np.arange(25), 8)
print(len(count), int(got["pictures"].long().sum()))
"""
    inner, other, count, turn = decoding.decode, [], [], threading.Lock()

    def patient(*given):
        with turn:
            if not other:
                command = [sys.executable, "-c", code]
                other.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=paths.ROOT))
                assert other[0].stdout.readline() == "asks\n"
            count.append(1)
        return inner(*given)

    monkeypatch.setattr(decoding, "decode", patient)
    originals = fetched.find("pens", pens["pens"])
    got = decoding.tensors("both", "key", lambda: originals, np.arange(25), 8)
    assert len(count) == 25
    assert other[0].communicate()[0].split() == ["0", str(int(got["pictures"].long().sum()))]


@pytest.mark.parametrize("content", [b"", b"no picture", None])
def test_all_damaged_pictures_are_named(pens, content, tmp_path):
    bad = [tmp_path / "pens" / name for name in ("blue_pen/07.png", "red_pen/03.png", "red_pen/11.png")]
    for path in bad:
        picture("a", (90, 90)).save(path)
        path.write_bytes(path.read_bytes()[:-4000] if content is None else content)
    originals = fetched.find("pens", pens["pens"])
    for reads in (
        lambda: decoding.tensors("x", "key", lambda: originals, np.arange(25), 8),
        lambda: decoding.look(originals, np.arange(25), "x"),
    ):
        with pytest.raises(ValueError, match=r"^target x: damaged, or no pictures: blue_pen/07\.png \(.+\)") as error:
            reads()
        assert all(path.relative_to(tmp_path / "pens").as_posix() in str(error.value) for path in bad)
        assert str(splits.path_of("x")) in str(error.value) and str(error.value).count(".png (") == 3
    assert not list(paths.PICTURES.glob("x-*"))


def test_pictures_without_a_split_and_pictures_that_changed_are_refused(pens, tmp_path):
    (tmp_path / "pens" / "red_pen" / "14.png").unlink()
    with pytest.raises(ValueError, match="class 'red_pen' has 14 pictures, and had 15"):
        load(pens)
    splits.path_of("pens").unlink()
    with pytest.raises(ValueError, match=r"SPLITS/pens\.json yet; put pens into fetched"):
        load(pens)


def test_a_missing_folder_and_an_unknown_alias_are_errors_that_say_what_to_do(monkeypatch):
    with pytest.raises(ValueError, match=r"target cars: there is no folder data/raw/cars; .*cars_train.*train/CLASS"):
        fetched.find("cars", origin_of("cars", {}))
    monkeypatch.delenv("IMAGENET", raising=False)
    with pytest.raises(ValueError, match=r"imagenet: the variable \$IMAGENET is not set; register at image-net"):
        fetched.find("imagenet", origin_of("imagenet", {}))
    with pytest.raises(ParameterError, match=r"'pencils' is not registered; choose one of digits.*pens.*add an entry"):
        target.load("pencils", origins={"pens": Origin(imagefolder="x")})


def test_a_zip_of_another_checksum_is_refused_when_it_is_fetched(pens, tmp_path):
    zipped = Path(shutil.make_archive(str(tmp_path / "pens"), "zip", tmp_path / "pens"))
    right = hashlib.sha256(zipped.read_bytes()).hexdigest()
    assert len(fetched.find("pens", Origin(imagefolder=str(zipped), sha256=right), download=True).names) == 25
    with pytest.raises(ValueError, match=r"pens\.zip: its SHA-256 is"):
        fetched.find("pens", Origin(imagefolder=str(zipped), sha256="0" * 64), download=True)


@pytest.mark.parametrize(("alias", "classes"), [("gtsrb", 43), ("cifar10", 10)])
def test_real_sets_from_zips_fit_the_split_files_in_git(alias, classes, tmp_path, monkeypatch):
    needed_by("imagenet")
    monkeypatch.setattr(paths, "PICTURES", tmp_path)
    origin = scales.parameters("imagenet").pictures[alias]
    ready = fetched.prepare(alias, origin)
    again = splits.choose(ready.originals(), origin)
    splits.write(tmp_path / "again.json", splits.content(ready.originals(), again, origin, ready.class_names))
    assert (tmp_path / "again.json").read_bytes() == splits.path_of(alias).read_bytes()
    loaded = ready.target(32)
    assert loaded.pictures.shape == (len(ready.partition.chosen), 3, 32, 32) and len(loaded.class_names) == classes
    seventh = ready.originals().open(int(ready.partition.test[7]))
    assert np.array_equal(loaded.pictures[loaded.test[7]], decode(seventh, 32))
