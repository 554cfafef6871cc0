"""Splits: stratified, always the same, and only for the pictures that they were made for."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from pictures import folder

from vpstudy.data import imagefolder, splits
from vpstudy.data.origin import Origin
from vpstudy.data.originals import Originals

COUNTS = [50, 30, 20, 7]


def originals(counts=COUNTS, in_test=None) -> Originals:
    labels = np.repeat(np.arange(len(counts)), counts)
    names = [f"c{k}/{i:04d}.png" for i, k in enumerate(labels)]
    folders, sizes = [f"c{k}" for k in range(len(counts))], [100 + i for i in range(len(labels))]
    return Originals(names, sizes, labels, folders, in_test, None)


def origin(**keys) -> Origin:
    return Origin(imagefolder="x", **keys)


def write(path, of: Originals, how: Origin) -> splits.Partition:
    split = splits.choose(of, how)
    splits.write(path, splits.content(of, split, how, [f"name of {folder}" for folder in of.folders]))
    return split


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_a_seeded_split_is_stratified_disjoint_whole_and_the_same(share):
    one, two = (
        splits.choose(originals(), origin(test_share=share)),
        splits.choose(originals(), origin(test_share=share)),
    )
    assert np.array_equal(one.test, two.test) and np.array_equal(one.pool, two.pool)
    assert np.array_equal(np.sort(np.concatenate([one.pool, one.test])), np.arange(sum(COUNTS)))
    tests = np.bincount(originals().labels[one.test])
    assert np.abs(tests - np.array(COUNTS) * share).max() < 1 and len(one.test) == round(share * sum(COUNTS))
    other = splits.choose(originals(), origin(test_share=share, seed=1))
    assert not np.array_equal(other.test, one.test)


def test_a_test_set_that_is_there_is_taken_as_it_is():
    marks = np.arange(sum(COUNTS)) % 3 == 0
    split = splits.choose(originals(in_test=marks), origin())
    assert np.array_equal(split.test, np.flatnonzero(marks)) and np.array_equal(split.pool, np.flatnonzero(~marks))


@pytest.mark.parametrize("number", [4, 5, 13, 29])
def test_caps_are_stratified_and_part_of_the_whole(number):
    marks = np.arange(sum(COUNTS)) % 3 == 0
    whole = splits.choose(originals(in_test=marks), origin())
    split = splits.choose(originals(in_test=marks), origin(test_pictures=number, train_per_class=6))
    assert set(split.test) <= set(whole.test) and set(split.pool) <= set(whole.pool)
    tests, every = (np.bincount(originals().labels[each.test]) for each in (split, whole))
    assert tests.sum() == number and tests.min() >= 1
    assert (np.abs(tests - np.maximum(1, every * number / every.sum())) <= 1.0 + (number < 13)).all()
    pools, every = (np.bincount(originals().labels[each.pool]) for each in (split, whole))
    assert pools.tolist() == np.minimum(6, every).tolist()


def test_too_few_pictures_are_named():
    with pytest.raises(ValueError, match="classes with one picture cannot be split: c1"):
        splits.choose(originals([5, 1]), origin())
    with pytest.raises(ValueError, match="test_pictures: 3: 4 classes need at least as many"):
        splits.choose(originals(), origin(test_pictures=3))


@pytest.mark.parametrize(
    "keys", [{}, {"test_share": 0.5, "seed": 3}, {"test_share": 1}, {"test_pictures": 9, "train_per_class": 5}]
)
def test_a_file_brings_the_split_back(tmp_path, keys):
    split = write(tmp_path / "a.json", originals(), origin(**keys))
    back = splits.read(tmp_path / "a.json", origin(**keys), originals())
    assert np.array_equal(back.pool, split.pool) and np.array_equal(back.test, split.test)
    content = json.loads((tmp_path / "a.json").read_text())
    labels = originals().labels
    for k, each in enumerate(content["classes"]):
        counts = [int((labels[part] == k).sum()) for part in (split.pool, split.test)]
        assert [each["pool"], each["test"], each["pictures"]] == [*counts, COUNTS[k]]
        assert each["folder"] == f"c{k}" and each["name"] == f"name of c{k}"


def test_a_damaged_file_is_named(tmp_path):
    write(tmp_path / "a.json", originals(), origin())
    (tmp_path / "a.json").write_text("<<<<<<< HEAD\n" + (tmp_path / "a.json").read_text())
    for read in (lambda path: splits.read(path, origin()), splits.sizes):
        with pytest.raises(ValueError, match=r"a\.json: Expecting value.*; restore it from git, or delete it"):
            read(tmp_path / "a.json")


def test_a_large_set_with_parts_of_its_own_has_a_short_file(tmp_path):
    marks = np.repeat([False, True], [9000, 1000])
    write(tmp_path / "a.json", originals([9000, 1000], marks), origin())
    assert (tmp_path / "a.json").stat().st_size < 1000


def changed(**keys) -> Originals:
    return Originals(**(vars(originals()) | keys))


def less() -> Originals:
    whole = originals()
    return changed(names=whole.names[1:], sizes=whole.sizes[1:], labels=whole.labels[1:])


@pytest.mark.parametrize(
    ("now", "how", "said"),
    [
        (less(), {}, "class 'c0' has 49 pictures, and had 50"),
        (changed(sizes=[101, *originals().sizes[1:]]), {}, "pictures of class 'c0' have other names or sizes"),
        (changed(names=["c0/x.png", *originals().names[1:]]), {}, "pictures of class 'c0' have other names or sizes"),
        (changed(folders=["c0", "c1", "c2", "d"]), {}, "class 'c3' is missing; class 'd' is new"),
        (changed(in_test=np.arange(107) < 9), {}, "their order among training and test differs"),
        (originals(), {"test_share": 0.3}, "test_share is 0.3, and was 0.2"),
        (originals(), {"seed": 1, "test_pictures": 9}, "seed is 1, and was 0; test_pictures is 9, and was None"),
    ],
)
def test_other_pictures_or_another_split_are_refused_and_what_differs_is_told(tmp_path, now, how, said):
    write(tmp_path / "signs.json", originals(), origin())
    with pytest.raises(ValueError, match=r"pictures of signs are not those that signs\.json was made for") as error:
        splits.read(tmp_path / "signs.json", origin(**how), now)
    assert said in str(error.value) and "Restore" in str(error.value)
    assert f"delete {tmp_path / 'signs.json'}" in str(error.value)


def test_the_budget_s_own_error_names_target_and_class(tmp_path):
    from vpstudy.data.budgets import split as by_budget

    of = imagefolder.find(folder(tmp_path / "f", {"cat": 20, "dog": 5}))
    parts = splits.choose(of, origin())
    target = SimpleNamespace(name="pets", labels=of.labels, test=parts.test, class_names=["a cat", "a dog"])
    with pytest.raises(ValueError, match=r"pets, class 'a dog': 4 pictures outside the test set.*lower the budget"):
        by_budget(target, 3, 2, 0)
    assert len(by_budget(target, 2, 2, 0).train) == 4
