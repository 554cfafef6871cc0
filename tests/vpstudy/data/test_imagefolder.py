"""Folders and zips of class folders: what is found in them, and one clear error for each that is wrong."""

import io
import os
import random
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torchvision
from pictures import folder, picture

from vpstudy.data import decoding, imagefolder

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
    assert len(of.names) == 6 and of.left_out == {"pictures beside train/ and test/": 1}


@pytest.mark.parametrize(
    ("pool", "test"),
    [
        ("Train", "Test"),
        ("TRAINING", "Testing"),
        ("train", "valid"),
        ("train_set", "Validation"),
        ("training-images", "eval"),
        ("train2017", "val2017"),
        ("trainset", "Test Data"),
        ("images_train", "images_dev"),
    ],
)
def test_parts_in_other_spellings_are_parts(tmp_path, pool, test):
    root = folder(tmp_path / "f", {f"{pool}/a": 2, f"{pool}/b": 2, f"{test}/a": 1, f"{test}/b": 1})
    of = imagefolder.find(root)
    assert of.folders == ["a", "b"]
    assert [name.split("/")[0] == test for name in of.names] == of.in_test.tolist() and of.in_test.sum() == 2


@pytest.mark.parametrize("word", ["trains", "tester", "contest", "valley", "trained", "a train", "devil"])
def test_other_words_are_no_parts(word):
    assert imagefolder.part(word) == ""


@pytest.mark.parametrize(
    "counts",
    [
        {"learn/a": 2, "learn/b": 2, "exam/a": 1, "exam/b": 1},
        {"Train/a": 2, "Train/b": 2, "holdout/b": 1},
        {"seg_train/seg_train/a": 2, "seg_train/seg_train/b": 2, "seg_test/seg_test/a": 1, "seg_test/seg_test/b": 1},
        {"a/train": 2, "a/test": 1, "b/train": 2, "b/test": 1},
    ],
)
def test_folders_that_may_be_parts_as_well_as_classes_are_refused(tmp_path, counts):
    with pytest.raises(
        ValueError, match=r"each of \w+, \w+ holds the same folders \(\w+, \w+\).* train and test; if not"
    ):
        imagefolder.find(folder(tmp_path / "f", counts))


@pytest.mark.parametrize(
    "counts",
    [
        {"cat/tabby": 1, "cat/persian": 1, "dog/poodle": 1, "dog/pug": 1},
        {"cat/images": 2, "dog/images": 2},
        {"cat/2": 2, "cat/1": 1, "dog": 2},
    ],
)
def test_folders_in_classes_may_be_there(tmp_path, counts):
    of = imagefolder.find(folder(tmp_path / "f", counts))
    assert of.folders == ["cat", "dog"] and of.in_test is None and len(of.names) == sum(counts.values())


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


def test_classes_have_one_natural_order_whatever_order_they_are_found_in(tmp_path):
    given = ["1", "01", "2", "02", "10", "class_2", "class_10", "class_1", "B", "a"]
    expected = ["01", "1", "02", "2", "10", "B", "a", "class_1", "class_2", "class_10"]
    for seed in range(20):
        assert sorted(random.Random(seed).sample(given, len(given)), key=imagefolder.natural) == expected
    of = imagefolder.find(folder(tmp_path / "f", dict.fromkeys(given, 1)))
    assert of.folders == expected
    assert all(of.folders[k] == name.split("/")[0] for name, k in zip(of.names, of.labels, strict=True))


def test_what_is_left_out_is_counted(tmp_path):
    root = folder(tmp_path / "f", {"a": 2, "b": 3, "c": 1, "a/@eaDir/0.png": 2, "b/.thumbnails": 1, "__MACOSX/a": 1})
    for name in ("a/1.gif", "a/2.GIF", "b/notes.txt", "b/README", "b/._00.png", ".DS_Store"):
        (root / name).write_text("x")
    left_out = {".gif": 2, ".txt": 1, "files without an ending": 1, "hidden files and thumbnails": 5}
    for location in (root, zipped(root)):
        of = imagefolder.find(location)
        assert of.left_out == left_out and np.bincount(of.labels).tolist() == [2, 3, 1]
    shutil.rmtree(root / "a")
    (root / "a").mkdir()
    (root / "a" / "1.heic").write_text("x")
    with pytest.raises(ValueError, match=r"without pictures: a; fill or remove them \(left out: 1 \.heic, "):
        imagefolder.find(root)


@pytest.mark.parametrize(
    ("link", "to"), [("a/loop", ".."), ("a/loop", "."), ("a/deep/loop", "../.."), ("a/up", "../..")]
)
def test_a_link_to_a_folder_around_it_adds_no_picture(tmp_path, link, to):
    root = folder(tmp_path / "above" / "f", {"a": 2, "a/deep": 1, "b": 3})
    plain = imagefolder.find(root)
    (root / link).symlink_to(to, target_is_directory=True)
    of = imagefolder.find(root)
    assert of.fingerprint == plain.fingerprint and of.left_out == {"links to a folder around them": 1}


def test_links_that_lead_nowhere_are_counted_and_others_are_followed(tmp_path):
    store = folder(tmp_path / "store", {"cats": 2, "dogs": 2})
    root = folder(tmp_path / "f", {"b": 1})
    (root / "a").symlink_to(store / "cats")
    (root / "b" / "linked.png").symlink_to(store / "dogs" / "00.png")
    (root / "b" / "nowhere.jpg").symlink_to("/nowhere.jpg")
    (root / "b" / "itself.jpg").symlink_to("itself.jpg")
    os.mkfifo(root / "b" / "pipe.png")
    of = imagefolder.find(root)
    assert of.names == ["a/00.png", "a/01.png", "b/00.png", "b/linked.png"]
    assert of.open(0).tobytes() == picture("cats/0").tobytes() and of.open(3).tobytes() == picture("dogs/0").tobytes()
    assert of.left_out == {"links that lead nowhere": 2, "special files": 1}


@pytest.mark.parametrize(
    ("link", "to", "said"),
    [
        ("test", "train", "test/a/00.png is"),
        ("train/b/twice.png", "00.png", r"train/b/twice\.png is train/b/00\.png"),
        ("train/c", "b", r"train/c/00\.png is train/b/00\.png"),
    ],
)
def test_a_picture_found_twice_through_links_is_refused(tmp_path, link, to, said):
    root = folder(tmp_path / "f", {"train/a": 2, "train/b": 2})
    if link == "test":
        root = folder(tmp_path / "g", {"train/a": 2, "train/b": 2})
        said = r"train/a/00\.png is test/a/00\.png"
    (root / link).symlink_to(to)
    with pytest.raises(ValueError, match=rf"{said}.*, through links; keep one of the two"):
        imagefolder.find(root)


def test_two_folders_that_link_to_each_other_end(tmp_path):
    root = folder(tmp_path / "f", {"a": 2, "b": 2})
    (root / "a" / "other").symlink_to("../b")
    (root / "b" / "other").symlink_to("../a")
    with pytest.raises(ValueError, match="through links"):
        imagefolder.find(root)


def written(path: Path, names: list[str], **options) -> Path:
    """A zip with a picture, or nothing in folders, by each of these names as they are."""
    buffer = io.BytesIO()
    picture("a").save(buffer, "PNG")
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name in names:
            entry = zipfile.ZipInfo("x")
            entry.filename, entry.compress_type = name, archive.compression
            archive.writestr(entry, b"" if name.endswith(("/", "\\")) else buffer.getvalue())
    return path


PLAIN = ["train/a/1.png", "train/b/1.png", "test/a/1.png", "test/b/1.png"]


@pytest.mark.parametrize(
    "spelled",
    [
        lambda name: name.replace("/", "\\"),
        lambda name: f"./{name}",
        lambda name: f"/{name}",
        lambda name: f"C:\\pictures\\{name}".replace("/", "\\"),
        lambda name: name.replace("/", "//"),
        lambda name: f"../{name}",
    ],
)
def test_zips_of_other_programs_are_the_folders_they_hold(tmp_path, spelled):
    plain = imagefolder.find(written(tmp_path / "plain.zip", PLAIN))
    folders = ["train/", "train/a/"]
    other = imagefolder.find(written(tmp_path / "other.ZIP", [spelled(name) for name in [*folders, *PLAIN]]))
    assert other.names == plain.names == sorted(PLAIN) and other.fingerprint == plain.fingerprint
    assert other.in_test.tolist() == [True] * 2 + [False] * 2
    assert all(other.open(i).tobytes() == picture("a").tobytes() for i in range(4))


def test_a_link_in_a_zip_is_counted(tmp_path):
    path = written(tmp_path / "a.zip", PLAIN)
    with zipfile.ZipFile(path, "a") as archive:
        entry = zipfile.ZipInfo("train/a/2.png")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, "1.png")
    of = imagefolder.find(path)
    assert of.names == sorted(PLAIN) and of.left_out == {"links": 1}


def test_encrypted_and_oddly_packed_archives_are_named(tmp_path):
    """The marks in both headers of the first entry are set by hand, as zipfile writes no such archives."""
    for name, at, value in (("encrypted", 6, 1), ("packed", 8, 9)):
        path = written(tmp_path / f"{name}.zip", PLAIN)
        raw = bytearray(path.read_bytes())
        raw[at] = raw[raw.index(b"PK\1\2") + at + 2] = value
        path.write_bytes(raw)
        with pytest.raises(ValueError, match=rf"{name}\.zip, train/a/1\.png: .*; get the file again, or unpack it"):
            imagefolder.find(path)


def test_a_zip_that_is_cut_or_overwritten_anywhere_is_one_error_or_read(tmp_path):
    path = written(tmp_path / "a.zip", PLAIN, compression=zipfile.ZIP_DEFLATED)
    whole = path.read_bytes()
    for end in range(0, len(whole), 7):
        path.write_bytes(whole[:end])
        with pytest.raises(ValueError, match=r"a\.zip"):
            imagefolder.find(path)
    draw = random.Random(0)
    outcomes = set()
    for _ in range(300):
        raw = bytearray(whole)
        for _ in range(8):
            raw[draw.randrange(len(raw))] = draw.randrange(256)
        path.write_bytes(raw)
        try:
            of = imagefolder.find(path)
            decoding.look(of, np.arange(len(of.names)), "x")
            outcomes.add("read")
        except ValueError as error:
            outcomes.add("named" if "a.zip" in str(error) else "pictures" if ".png (" in str(error) else str(error))
    assert outcomes <= {"read", "named", "pictures"}, outcomes


def test_a_name_that_is_not_utf_8_is_told(tmp_path):
    root = folder(tmp_path / "f", {"a": 1, "b": 1})
    (root / "a" / os.fsdecode(b"caf\xe9.png")).write_bytes(b"x")
    with pytest.raises(ValueError, match=r"f: 'a/caf\\udce9\.png' is no name in UTF-8; rename it"):
        imagefolder.find(root)


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    root = folder(tmp_path / "f", {"a": 1, "b": 1})
    inner = os.scandir

    def refuses(path):
        if str(path).endswith("b"):
            raise PermissionError(13, "Permission denied")
        return inner(path)

    monkeypatch.setattr(os, "scandir", refuses)
    with pytest.raises(ValueError, match=r"f/b: Permission denied; make it readable"):
        imagefolder.find(root)


def test_a_file_that_is_no_zip_is_named(tmp_path):
    (tmp_path / "a.zip").write_text("no")
    with pytest.raises(ValueError, match=r"a\.zip: File is not a zip file; get the file again"):
        imagefolder.find(tmp_path / "a.zip")
