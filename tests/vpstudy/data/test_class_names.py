"""Class names: from folders, lists and WordNet, and as words in a text."""

import pytest

from vpstudy.data import class_names
from vpstudy.data.class_names import words
from vpstudy.data.origin import Origin
from vpstudy.data.registry import SIGNS


def names(folders, alias="pens", **keys):
    return class_names.of_folders(alias, Origin(imagefolder="x", **keys), folders)


def test_classes_have_the_names_given_or_else_known_ones_or_else_their_folders(tmp_path):
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
    assert names(["n01440764", "n02084071", "n02121808"]) == ["tench", "dog", "domestic cat"]  # two beyond the thousand
    assert names(["n01440764", "n99999999"]) == ["n01440764", "n99999999"]  # no such id
    thousand = names([str(k) for k in range(1000)])
    assert thousand[0] == "tench" and len(set(thousand)) == 1000  # crane, the bird, and crane, the machine, too


@pytest.mark.parametrize(
    ("names", "written"),
    [
        (["AnnualCrop", "SeaLake", "Forest"], ["annual crop", "sea lake", "Forest"]),
        (["ApplyEyeMakeup", "TVScreen", "lane2"], ["apply eye makeup", "tv screen", "lane 2"]),
        (["apartment_building/outdoor", "abbey"], ["outdoor apartment building", "abbey"]),
        (["Faces_easy", "apple_pie", "hot-dog"], ["Faces easy", "apple pie", "hot-dog"]),
        (["707-320", "A340-500", "F-16A/B", "Il-76"], ["707-320", "A340-500", "F-16A/B", "Il-76"]),
        (["001.Black_footed_Albatross", "002.Auk"], ["Black footed Albatross", "Auk"]),
        (["n02085620-Chihuahua", "n02085782-Japanese_spaniel"], ["Chihuahua", "Japanese spaniel"]),
        (["001.Auk", "tern"], ["001.Auk", "tern"]),
        (["5_dollar", "10_dollar"], ["5 dollar", "10 dollar"]),
        (["speed limit 20 km/h", "McLaren MP4", "St. Bernard"], ["speed limit 20 km/h", "McLaren MP4", "St. Bernard"]),
        (["0", "01", "10"], ["0", "01", "10"]),
        (["_", "\u6771"], ["_", "\u6771"]),
    ],
)
def test_names_become_the_words_of_a_text(names, written):
    assert words(names) == written


def test_words_stay_words():
    assert words(list(SIGNS)) == list(SIGNS)
    assert words(words(["AnnualCrop", "apartment_building/outdoor"])) == ["annual crop", "outdoor apartment building"]
