"""Embedded targets, and what it takes to add one: a module and a registry line."""

import json
import subprocess
import sys
from textwrap import dedent

import numpy as np
import pytest
import torch
from skimage.data import _fetchers, lfw_subset
from sklearn.datasets import load_digits

from pipeline import fingerprints
from studies import parameters
from studies.parameters import read
from vpstudy import paths
from vpstudy.data import captions, glyphs, registry, targets
from vpstudy.data.budgets import split
from vpstudy.data.target import from_grey, load, stratified_test
from vpstudy.data.targets import letters, photographs

COUNTS = {"digits": (1797, 600), "photographs": (850, 250), "faces": (200, 100), "letters": (43 * 60, 43 * 20)}


@pytest.mark.parametrize("name", COUNTS)
def test_every_target_has_pictures_labels_and_a_balanced_test_set_apart_from_the_pool(name):
    target = load(name)
    n, n_test = COUNTS[name]
    assert target.name == name and target.credit
    assert target.pictures.shape == (n, 3, 32, 32) and target.pictures.dtype == torch.uint8
    assert target.labels.shape == (n,) and target.labels.dtype == torch.int64
    if name in ("digits", "faces"):
        assert torch.equal(target.pictures[:, 0], target.pictures[:, 1]), "colour must not give the class away"
    assert len(np.unique(target.test)) == len(target.test) == n_test
    per_class = np.bincount(target.labels[target.test], minlength=len(target.class_names))
    assert set(per_class) == {n_test // len(target.class_names)}
    keys = [picture.numpy().tobytes() for picture in target.pictures]
    assert not {keys[i] for i in target.test} & {keys[i] for i in np.setdiff1d(np.arange(n), target.test)}


NEW = """
    import numpy as np
    import torch

    from vpstudy.data.target import Target, from_grey, stratified_test


    def load(size: int) -> Target:
        '''Stripes and dots.'''
        labels = np.repeat([0, 1], 20)
        grey = np.random.default_rng(0).random((40, 4, 4))
        return Target(
            "stripes", ["a", "b"], from_grey(grey, size), torch.from_numpy(labels), stratified_test(labels, 5), ""
        )
"""


def test_a_new_target_is_one_file_and_one_registry_line(tmp_path, monkeypatch):
    file = tmp_path / "vpstudy" / "data" / "targets" / "stripes.py"
    file.parent.mkdir(parents=True)
    file.write_text(dedent(NEW))
    monkeypatch.setattr(targets, "__path__", [*targets.__path__, str(file.parent)])
    monkeypatch.setitem(registry.EMBEDDED, "stripes", "vpstudy.data.targets.stripes")
    content = read(paths.SCALES / "default/params.yaml")
    content["hidden_cost"]["axes"]["targets"] = ["stripes"]
    assert parameters.validate(content, "x").hidden_cost.axes.targets == ["stripes"]
    target = load("stripes", 8)
    assert target.pictures.shape == (40, 3, 8, 8) and len(split(target, 10, 5, seed=0).train) == 20
    (tmp_path / "vpstudy" / "data" / "target.py").write_text("")
    before = fingerprints.of_target("stripes", tmp_path)
    file.write_text(file.read_text().replace("Stripes and dots", "Dots and stripes"))
    assert fingerprints.of_target("stripes", tmp_path) == before  # a docstring
    file.write_text(file.read_text().replace("repeat([0, 1], 20)", "repeat([1, 0], 20)"))
    assert fingerprints.of_target("stripes", tmp_path) != before


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
    # A face is brighter in the middle than the hair and shade beside it; background is random.
    brighter = grey[:, 8:17, 8:17].mean((1, 2)) - grey[:, :, :3].mean((1, 2))
    assert brighter[target.labels == 0].median() > 30 > 15 > brighter[target.labels == 1].median()


def test_crops_for_training_and_for_testing_share_no_pixel(monkeypatch):
    # Black but for the right third, which is white.
    drawn = np.zeros((1410, 1410, 3), np.uint8)
    drawn[:, 1410 * 2 // 3 :] = 255
    monkeypatch.setattr(photographs, "PHOTOGRAPHS", {"drawn": lambda: drawn})
    target = photographs.load(32)
    test = np.isin(np.arange(len(target.labels)), target.test)
    assert (target.pictures[test] == 255).all() and (target.pictures[~test] == 0).all()


@pytest.mark.parametrize("name", (*photographs.PHOTOGRAPHS, "lfw_subset"))
def test_pictures_ship_inside_their_libraries(name, monkeypatch):
    def no_network(*arguments, **keywords):
        raise AssertionError(f"{name} would be downloaded")

    monkeypatch.setattr(_fetchers, "_image_fetcher", None)  # as where pooch is not installed
    monkeypatch.setattr("socket.socket.connect", no_network)
    assert photographs.PHOTOGRAPHS.get(name, lfw_subset)().size


def test_letters_use_held_out_fonts_and_are_the_same_each_time(monkeypatch):
    asked = []
    real = glyphs.glyph_masks
    monkeypatch.setattr(glyphs, "glyph_masks", lambda fonts: asked.append(fonts) or real(fonts))
    one, two = letters.load(16), letters.load(16)
    assert torch.equal(one.pictures, two.pictures) and set(asked) == {"held-out"}
    assert one.class_names == [captions.name(c) for c in glyphs.LATIN] and len(set(one.class_names)) == 43


def test_labels_of_letters_fit_the_pictures():
    """The mean picture of a letter resembles its own drawing more than those of most other letters."""
    target = load("letters", 32)
    grey = target.pictures.float().mean(1)
    contrast = (grey - grey.mean((1, 2), keepdim=True)).abs().flatten(1)
    means = torch.stack([contrast[target.labels == k].mean(0) for k in range(43)])
    places = [glyphs.CHARACTERS.index(c) for c in glyphs.LATIN]
    drawn = glyphs.glyph_masks("held-out")[places, :, 0].float().mean(1)
    drawn = torch.nn.functional.interpolate(drawn[:, None], size=32, mode="area").flatten(1)
    alike = torch.corrcoef(torch.cat([means - means.mean(0), drawn - drawn.mean(0)]))[:43, 43:]
    ranks = (alike > alike.diagonal()[:, None]).sum(1).numpy()
    assert np.median(ranks) <= 2  # by chance 21


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


def test_a_size_below_one_is_refused():
    with pytest.raises(ValueError, match="size=0"):
        load("digits", 0)


def test_names_load_without_torch_and_a_target_without_the_others():
    program = (
        "import json, sys; from vpstudy.data import registry, origin; cheap = [*sys.modules];"
        "from vpstudy.data.target import load; load('faces', 7); print(json.dumps([cheap, [*sys.modules]]))"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    cheap, after = map(set, json.loads(printed))
    assert not cheap & {"torch", "numpy", "sklearn", "skimage"}
    assert "vpstudy.data.targets.faces" in after and not after & {"vpstudy.data.targets.digits", "vpstudy.data.fetched"}
