"""What would fail in a cell of the qprompt study is said before anything runs."""

import pytest

from vpstudy.settings import ParameterError


def settings(section: str, **changes) -> dict:
    return {section: {"settings": changes}}


def axes(section: str, **changes) -> dict:
    return {section: {"axes": changes}}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (settings("qprompt", context=0), "qprompt.settings.context: 0: give words that context vectors start from, or"),
        (settings("qprompt", context=" "), "qprompt.settings.context: ' ': give words"),
        (settings("qprompt", context=True), "qprompt.settings.context: True: give words"),
        (settings("qprompt", cocop={"epochs": 1}), "qprompt.settings.cocop: unknown key"),
        (settings("qprompt", kgcoop={"weight": -1.0}), "qprompt.settings.kgcoop.weight: -1.0: should be greater than"),
        (settings("qprompt", kgcoop={"pull": 1.0}), "qprompt.settings.kgcoop.pull: unknown key"),
        (settings("multimodal", bits=[4, 1]), "multimodal.settings.bits: [4, 1]: the entries must increase strictly"),
        (settings("multimodal", depth=3), "multimodal.settings.depth: 3: vit has 2 blocks; allowed: 1 to 2"),
        ({"clip_source": {"layers": 1}}, "multimodal.settings.depth: 2: the text tower (clip_source.layers) has 1"),
        ({"clip_source": {"heads": 5}}, "clip_source.heads: 5: must divide clip_source.width (32)"),
        (axes("multimodal", backbones=["cnn"]), "multimodal.axes.backbones: 'cnn' is no transformer"),
        (axes("qprompt", prompters=["coop", "coop2"]), "qprompt.axes.prompters.1: 'coop2': no such prompter; did you"),
        (axes("few_shot", backbones=["vit"]), "few_shot.axes.backbones: 'vit' is not in qprompt.axes.backbones"),
        (axes("other_pictures", backbones=["vit"]), "other_pictures.axes.backbones: 'vit' is not in qprompt.axes"),
        (settings("other_pictures", shifts=["fog"]), "other_pictures.settings.shifts.0: 'fog': should be 'blur', "),
        (settings("other_pictures", others=["inverted"]), "other_pictures.settings: others: 'inverted' is also"),
        (settings("other_pictures", others=["gtsrb"]), "other_pictures.settings.others: 'gtsrb' is not embedded"),
        (settings("few_shot", epochs=[5]), "few_shot.settings: epochs: 1 entries for 2 of shots"),
        (settings("other_pictures", others=["digits"]), "other_pictures: settings.others: 'digits' is in axes.targets"),
        (settings("few_shot", shots=[2, 1]), "few_shot.settings.shots: [2, 1]: the entries must increase strictly"),
        ({"pretrained": ["cnn"]}, "clips: 'vit' is not in pretrained or outside; allowed: cnn"),
        ({"clips": ["vit"]}, "qprompt.axes.backbones: 'cnn' is not in clips; allowed: vit"),
        ({"clips": ["cnn"]}, "multimodal.axes.backbones: 'vit' is not in clips; allowed: cnn"),
    ],
)  # fmt: skip
def test_each_is_one_problem(small, changes, said):
    with pytest.raises(ParameterError) as error:
        small(**changes)
    (line,) = str(error.value).splitlines()[1:]
    assert line.startswith(f"  - {said}"), line


def test_shifts_are_those_of_the_library():
    from typing import get_args

    from studies.qprompt.settings import Shift
    from vpstudy.data import shifts

    assert tuple(shifts.SHIFTS) == get_args(Shift)
