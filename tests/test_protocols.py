"""Few-shot, shifted and other pictures: parameters, grid, cells on an untrained CLIP, the claim, figures."""

import numpy as np
import pandas as pd
import pytest
import torch
from studies.qprompt.protocols_settings import Protocols

from studies import grid
from studies import parameters as study
from studies.qprompt import protocol_cell as experiment
from studies.qprompt import protocol_figures as protocol_cell
from studies.qprompt.claims import CLAIMS, QpromptEvidence, few_shot, words
from studies.qprompt.protocols_report import NOT_RUN, ProtocolResults, read
from vpstudy import paths
from vpstudy.models.architectures import ARCHITECTURES
from vpstudy.models.clip import small_clip
from vpstudy.prompts.codebook import stored_bytes
from vpstudy.prompts.text import described
from vpstudy.settings import ParameterError
from vpstudy.settings import read as read_yaml
from vpstudy.training.prompt_learning import pretraining
from vpstudy.training.prompt_learning.settings import Qprompt

CONTENT = read_yaml(paths.SCALES / "default/params.yaml")
DEFAULT = study.load(paths.SCALES / "default/params.yaml")
SMALL = {"names": ["few_shot", "elsewhere"], "seeds": [0], "shots": [1, 2], "epochs": [1, 2], "n_context": 3}


def cell(monkeypatch, name: str, **changes) -> experiment.ProtocolCell:
    """A cell of few steps on an untrained CLIP."""
    how = CONTENT["qprompt"]["clip"] | {"width": 32, "heads": 2, "layers": 1, "embed": 16}
    qprompt = Qprompt.model_validate(
        CONTENT["qprompt"] | {"clip": how, "epochs": 2, "shots": 2, "validation_per_class": 2}
    )
    protocols = Protocols.model_validate(CONTENT["protocols"] | SMALL | {"shifts": ["inverted"]} | changes)
    of = {"qprompt": qprompt, "protocols": protocols, "source": DEFAULT.source, "execution": DEFAULT.execution}
    monkeypatch.setattr(experiment, "section", lambda key, kind, scale: of[key])
    clip = small_clip(ARCHITECTURES["cnn"], seed=0, **pretraining.towers(qprompt.clip, 32)).eval().requires_grad_(False)
    monkeypatch.setattr(pretraining, "load", lambda _: (clip, ARCHITECTURES["cnn"]))
    return experiment.ProtocolCell("default", "cnn", "digits", name)


def test_few_shot_has_a_row_for_each_arm_and_number_of_pictures(monkeypatch):
    this = cell(monkeypatch, "few_shot")
    rows = this.run()
    assert [(r["arm"], r["budget"], r["group"]) for r in rows] == [
        ("zero-shot", "0", "all"),
        *((arm, shots, "all") for shots in ("1", "2") for arm in ("full", "qat-1")),
    ]
    assert {r["arm"]: r["bytes"] for r in rows} == {"zero-shot": 0, "full": 2 * 3 * 32, "qat-1": stored_bytes(96, 1)}
    assert all(r["metrics"]["accuracy"] <= 1 and r["status"] == "ok" for r in rows)
    assert this.record(rows)["facts"]["groups"]["all"]["pictures"] == 600


def test_few_pictures_are_among_the_more(monkeypatch):
    this = cell(monkeypatch, "few_shot")
    one, two = this.task(0, 1), this.task(0, 2)
    assert torch.bincount(two.train[1]).tolist() == [2] * 10
    assert all((two.train[0] == feature).all(1).any() for feature in one.train[0])


def test_elsewhere_measures_the_same_prompt_on_every_group(monkeypatch):
    this = cell(monkeypatch, "elsewhere")
    rows = this.run()
    assert [r["group"] for r in rows if r["arm"] == "full"] == ["all", "inverted", "letters"]
    assert this.measured["letters"].labels.max() == 42 and len(this.measured["letters"].called) == 43
    assert torch.equal(this.measured["all"].labels, this.measured["inverted"].labels)
    assert not torch.allclose(this.measured["all"].features, this.measured["inverted"].features)
    assert set(this.examples(4)) == {"digits", "inverted", "letters"}
    said = this.conclusion(rows).data
    assert "letters, 2 per class" in said and said.count("\n") == 4


def test_zero_shot_is_the_nearest_description(monkeypatch):
    this = cell(monkeypatch, "elsewhere")
    found = {r["group"]: r["metrics"]["accuracy"] for r in this.run() if r["arm"] == "zero-shot"}
    for group, measured in this.measured.items():
        texts = described(this.tower, measured.called, ("a picture of a {}.",))
        distance = torch.cdist(measured.features, texts)
        assert found[group] == pytest.approx((distance.argmin(1) == measured.labels).float().mean().item(), abs=1e-6)


def test_a_run_that_diverges_is_a_row(monkeypatch):
    this = cell(monkeypatch, "few_shot")

    def lost(*_):
        raise experiment.Diverged("the training loss was nan")

    monkeypatch.setattr(experiment, "learn", lost)
    rows = [r for r in this.run() if r["arm"] != "zero-shot"]
    assert {(r["status"], r["reason"]) for r in rows} == {("diverged", "the training loss was nan")}


def problems(**changes) -> str:
    with pytest.raises(ParameterError) as error:
        study.validate(CONTENT | {"protocols": CONTENT["protocols"] | changes}, "params.yaml")
    return str(error.value)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"names": ["few_shots"]}, "allowed: few_shot, elsewhere"),
        ({"shifts": ["fog"]}, "allowed: blur, noise, inverted, rotated"),
        ({"epochs": [5]}, "1 entries for 5 of shots"),
        ({"others": ["digits"]}, "'digits' is in targets, from which prompts learn"),
        ({"shots": [2, 1, 4, 8, 16]}, "must increase strictly"),
        ({"backbones": ["vit"]}, "'vit' is not in qprompt.backbones"),
    ],
)
def test_bad_parameters_are_told(changes, told):
    assert told in problems(**changes)


def test_a_scale_may_leave_protocols_out():
    assert grid.cells(DEFAULT, "protocol") == []
    assert read(DEFAULT).empty
    shown = ProtocolResults(DEFAULT, save=False)
    assert shown.table("few_shot") == NOT_RUN
    named = DEFAULT.model_copy(update={"protocols": DEFAULT.protocols.model_copy(update={"names": ["few_shot"]})})
    assert [c.name for c in grid.cells(named, "protocol")] == ["protocol@cnn-digits-few_shot"]


def frame(gain: dict[int, float]) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    rows = []
    for shots, more in gain.items():
        for seed in range(5):
            shared = draw.normal(0.7, 0.02)
            for arm, value in (("full", shared), ("qat-1", shared + more + draw.normal(0, 0.002))):
                rows.append({"arm": arm, "budget": str(shots), "seed": seed, "accuracy": value, "bits": None})
    fixed = {"backbone": "cnn", "source_seed": 0, "target": "digits", "protocol": "few_shot", "group": "all"}
    return pd.DataFrame(rows).assign(status="ok", **fixed)


def test_the_claim_of_few_pictures_must_hold_at_each_number():
    from studies.claims import ledger

    verdicts = []
    for gain in ({1: 0.05, 4: 0.05}, {1: 0.05, 4: -0.05}, {1: -0.05, 4: -0.05}):
        evidence = QpromptEvidence(few_shot(frame(gain)), pd.DataFrame(), pd.DataFrame())
        (claim,) = (c for c in CLAIMS if c.id == "Q11")
        (record,) = ledger.assess("qprompt", (claim,), evidence)
        assert len(record["findings"]) == 2
        verdicts.append(record["verdict"])
    assert verdicts == ["reproduced", "contradicted", "contradicted"]
    assert words(("few_shot", "qat-1 of 4")) == "QCoOp, 1 bit, 4 a class"
    assert few_shot(pd.DataFrame()).empty


def test_figures_show_every_arm(monkeypatch):
    rows = cell(monkeypatch, "few_shot").run()
    figure = protocol_cell.by_shots(rows)
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["zero-shot", "full", "qat-1"]
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["1", "2"]
    figure = protocol_cell.by_group(rows)
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["as learned"]
