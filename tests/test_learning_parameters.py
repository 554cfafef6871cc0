"""What prompts would fail on while they are learned is told first: words, heads, evaluations."""

import copy

import pytest
from studies.qprompt.learning_settings import PIECE, _vocabulary, learning_problems

from studies import parameters as study
from vpstudy import paths
from vpstudy.models.clip import tokenize
from vpstudy.settings import ParameterError, read

CONTENT = read(paths.SCALES / "default/params.yaml")


def changed(**changes):
    content = copy.deepcopy(CONTENT)
    content["multimodal"]["backbones"] = ["vit"]
    content["pretrained"] = content["clips"] = ["cnn", "vit"]
    for dotted, value in changes.items():
        *sections, key = dotted.split("__")
        section = content
        for name in sections:
            section = section[name]
        section[key] = value
    return content


def test_words_that_are_one_token_are_those_of_the_tokenizer():
    words = sorted(word for word in _vocabulary() if word.isascii() and PIECE.findall(word) == [word])
    assert len(words) > 20_000
    tokens = tokenize(words[::7])
    assert (tokens.argmax(1) == 2).all()  # behind the one that begins a text
    assert not {"vpstudy", "qprompt", "photomicrograph"} & _vocabulary()


@pytest.mark.parametrize("words", ["a photo of a", "a qprompt", "it's 10 o'clock!", "A PHOTO, of"])
def test_numbers_of_words_are_refused_where_the_tokenizer_has_another(words):
    length = int(tokenize([words]).argmax()) - 1
    pieces = PIECE.findall(words.lower())
    whole = set(pieces) <= _vocabulary()
    for n in range(1, length + 3):
        refused = bool(list(learning_problems(changed(qprompt__words=words, qprompt__n_context=n))))
        # Of words that are cut, so much is known: there are more tokens than words.
        assert refused == (n != length if whole else n <= len(pieces)), (n, length)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"qprompt__n_context": 5}, "qprompt.words: 'a picture of a': 4 tokens for 5 vectors (qprompt.n_context)"),
        ({"qprompt__words": "a qprompt of a"}, "qprompt.words: 'a qprompt of a': more than 4 tokens for 4 vectors"),
        ({"multimodal__n_context": 3}, "multimodal.words: 'a picture': 2 tokens for 3 vectors"),
        ({"qprompt__clip__heads": 5}, "qprompt.clip.heads: 5: must divide qprompt.clip.width (128)"),
        (
            {"qprompt__evaluations": 11},
            "qprompt.evaluations: 11: epochs are evaluated at most once; at most qprompt.cocoop_",
        ),
        (
            {"qprompt__epochs": 9},
            "qprompt.evaluations: 10: epochs are evaluated at most once; at most qprompt.epochs (9)",
        ),
        (
            {"multimodal__evaluations": 21},
            "multimodal.evaluations: 21: epochs are evaluated at most once; at most multi",
        ),
    ],
)
def test_each_is_one_problem(changes, said):
    with pytest.raises(ParameterError) as error:
        study.validate(changed(**changes), "params.yaml")
    (line,) = str(error.value).splitlines()[1:]
    assert line.startswith(f"  - {said}"), line


@pytest.mark.parametrize(
    "changes",
    [
        {"qprompt__n_context": 16, "qprompt__words": None},
        {"qprompt__words": "a qprompt", "qprompt__n_context": 3},  # cut in two: told by none, and right
        {"qprompt__prompters": ["coop"], "qprompt__evaluations": 100},  # no CoCoOp, whose epochs are fewer
        {"multimodal__backbones": [], "multimodal__n_context": 3},  # left out
    ],
)
def test_what_is_right_passes(changes):
    study.validate(changed(**changes), "params.yaml")


@pytest.mark.parametrize("given", [None, 3, [], {"words": 4, "n_context": "x", "prompters": 2, "backbones": ["cnn"]}])
def test_what_is_no_section_is_told_elsewhere(given):
    assert list(learning_problems({"qprompt": given, "multimodal": given})) == []
