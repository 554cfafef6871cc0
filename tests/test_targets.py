import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest
import torch
from skimage.data import _fetchers
from sklearn.datasets import load_digits

from vpstudy.data import targets, textures
from vpstudy.data.pictures import from_grey, stratified_test
from vpstudy.data.targets import load

COUNTS = {"digits": (1797, 600), "textures": (1560, 600), "faces": (200, 100)}


@pytest.mark.parametrize("name", COUNTS)
def test_every_target_has_pictures_labels_and_a_balanced_test_set(name):
    target = load(name)
    n, n_test = COUNTS[name]
    assert target.name == name and target.description and target.origin
    assert target.pictures.shape == (n, 3, 32, 32) and target.pictures.dtype == torch.uint8
    assert target.labels.shape == (n,) and target.labels.dtype == torch.int64
    assert torch.equal(target.pictures[:, 0], target.pictures[:, 1]), "colour must not give the class away"
    assert len(np.unique(target.test)) == len(target.test) == n_test
    per_class = np.bincount(target.labels[target.test], minlength=len(target.class_names))
    assert set(per_class) == {n_test // len(target.class_names)}


@pytest.mark.parametrize("name", COUNTS)
def test_no_test_picture_is_also_in_the_pool(name):
    target = load(name)
    keys = [picture.numpy().tobytes() for picture in target.pictures]
    in_test = {keys[i] for i in target.test}
    assert not in_test & {keys[i] for i in np.setdiff1d(np.arange(len(keys)), target.test)}


def test_size_changes_the_pictures_and_nothing_else():
    small, large = load("faces", 32), load("faces", 48)
    assert large.pictures.shape == (200, 3, 48, 48)
    assert np.array_equal(small.test, large.test) and torch.equal(small.labels, large.labels)


def test_digits_are_those_of_scikit_learn_bright_on_dark():
    target = load("digits", 8)
    assert torch.equal(target.labels, torch.from_numpy(load_digits().target))
    assert torch.allclose(target.pictures[:, 0] / 255 * 16, torch.from_numpy(load_digits().images).float(), atol=0.04)
    assert target.pictures[:, 0, :, 0].float().mean() < 20  # the margin is dark


def test_faces_are_the_first_hundred():
    target = load("faces", 25)
    assert target.class_names == ["face", "no face"]
    grey = target.pictures[:, 0].float()
    # A face is brighter in the middle than the hair and shade beside it; background is as it falls.
    brighter = grey[:, 8:17, 8:17].mean((1, 2)) - grey[:, :, :3].mean((1, 2))
    assert brighter[target.labels == 0].median() > 30 > 15 > brighter[target.labels == 1].median()


def test_texture_train_and_test_patches_come_from_different_halves(monkeypatch):
    # Photographs whose left half is black and whose right half is white: no patch may see both.
    def photograph() -> np.ndarray:
        return np.repeat([[0, 255]], 1410 // 2, 1).repeat(1410, 0).astype(np.uint8)

    for name in textures.PHOTOGRAPHS:
        monkeypatch.setattr(textures.skimage.data, name, photograph)
    target = textures.load(32)
    test = np.isin(np.arange(len(target.labels)), target.test)
    assert (target.pictures[test] == 255).all() and (target.pictures[~test] == 0).all()


def test_cut_reaches_from_edge_to_edge():
    half = np.arange(100 * 60, dtype=float).reshape(100, 60)
    patches = textures.cut(half, 3, 2)
    assert patches.shape == (6, 48, 48)
    assert patches[0, 0, 0] == half[0, 0] and patches[-1, -1, -1] == half[-1, -1]


@pytest.mark.parametrize("name", (*textures.PHOTOGRAPHS, "lfw_subset"))
def test_pictures_ship_inside_scikit_image(name, monkeypatch):
    def no_network(*arguments, **keywords):
        raise AssertionError(f"{name} would be downloaded")

    monkeypatch.setattr(_fetchers, "_image_fetcher", None)  # as where pooch is not installed
    monkeypatch.setattr("socket.socket.connect", no_network)
    assert getattr(textures.skimage.data, name)().size


def test_from_grey_scales_values_and_averages():
    halves = np.stack([np.zeros((4, 4)), np.ones((4, 4)), np.indices((4, 4)).sum(0) % 2])
    pictures = from_grey(halves, 2)
    assert pictures.shape == (3, 3, 2, 2) and pictures[0].max() == 0 and pictures[1].min() == 255
    assert ((pictures[2].int() - 128).abs() < 40).all(), "a chequerboard turns grey, not black or white"


def test_stratified_test_is_fixed_and_balanced():
    labels = np.repeat([0, 1, 2], [5, 9, 7])
    chosen = stratified_test(labels, 4)
    assert np.array_equal(chosen, stratified_test(labels, 4))
    assert np.bincount(labels[chosen]).tolist() == [4, 4, 4] and len(set(chosen)) == 12


def test_errors_say_what_is_allowed():
    with pytest.raises(ValueError, match=r"'cifar' is not registered; choose one of digits, textures, faces"):
        load("cifar")
    with pytest.raises(ValueError, match="size=0"):
        load("digits", 0)


def test_names_are_cheap():
    code = (
        "import sys; from vpstudy.data.targets import NAMES; "
        "print([m for m in ('torch', 'numpy', 'sklearn', 'skimage') if m in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_only_the_target_asked_for_is_imported(monkeypatch):
    imported = []

    def recording(module: str):
        imported.append(module)
        return import_module(module)

    monkeypatch.setattr(targets, "import_module", recording)
    load("faces", 7)
    assert imported == ["vpstudy.data.faces"]
