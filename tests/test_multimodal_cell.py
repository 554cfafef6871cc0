"""MaPLe and QMaPLe as cells: parameters, grid, a cell on an untrained CLIP, the claim, tables and figures."""

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from studies.qprompt.multimodal_settings import Multimodal

from studies import grid, results
from studies import parameters as study
from studies.claims import ledger
from studies.claims.verdict import NOT_RUN
from studies.qprompt import multimodal_cell as experiment
from studies.qprompt import multimodal_report as qprompt_multimodal
from studies.qprompt.claims import CLAIMS, gathered, words
from studies.qprompt.multimodal_report import read
from vpstudy import paths
from vpstudy.models.architectures import ARCHITECTURES
from vpstudy.models.clip import TextTower, small_clip
from vpstudy.prompts.multimodal import parameter_count
from vpstudy.prompts.text import described
from vpstudy.settings import ParameterError
from vpstudy.settings import read as read_yaml
from vpstudy.training.prompt_learning import pretraining
from vpstudy.training.prompt_learning.settings import Qprompt

CONTENT = read_yaml(paths.SCALES / "default/params.yaml")
DEFAULT = study.load(paths.SCALES / "default/params.yaml")
TWO = {"pretrained": ["cnn", "vit"], "clips": ["cnn", "vit"]}
WIDTHS = 32, 96  # of the text tower below, of the image tower
LEARNED = [("maple", "full"), ("maple", "ptq-1"), ("maple", "ptq-4"), ("qmaple", "qat-1"), ("qmaple", "qat-4")]
ARMS = [*LEARNED, ("zero_shot", "one")]


def cell(**changes) -> experiment.MultimodalCell:
    """A cell of two steps on an untrained CLIP."""
    how = CONTENT["qprompt"]["clip"] | {"width": WIDTHS[0], "heads": 2, "layers": 2, "embed": 16}
    qprompt = Qprompt.model_validate(CONTENT["qprompt"] | {"clip": how, "shots": 1, "validation_per_class": 2})
    few = {"seeds": [3], "bits": [1, 4], "epochs": 2, "batch": 5, "evaluations": 1}
    multimodal = Multimodal.model_validate(CONTENT["multimodal"] | few | changes)
    of = {"qprompt": qprompt, "multimodal": multimodal, "source": DEFAULT.source, "execution": DEFAULT.execution}
    clip = small_clip(ARCHITECTURES["vit"], seed=0, **pretraining.towers(qprompt.clip, 32)).eval().requires_grad_(False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "section", lambda key, kind, scale: of[key])
        patch.setattr(pretraining, "load", lambda _: (clip, ARCHITECTURES["vit"]))
        return experiment.MultimodalCell("default", "vit", "digits")


@pytest.fixture(scope="module")
def run():
    this = cell()
    arms = this.run()
    return this, arms, this.record(arms)


def test_rows_are_in_the_shape_of_those_of_prompts(run, tmp_path):
    this, _, record = run
    rows = record["rows"]
    assert [(r["prompter"], r["arm"], r["group"]) for r in rows] == [(*a, g) for a in ARMS for g in ("base", "new")]
    assert {(r["status"], r["seed"], r["budget"]) for r in rows} == {("ok", 3, "1")}
    results.write(results.path(this.cell, tmp_path), record)
    frame = results.read([this.cell], tmp_path).frame
    assert set(frame["backbone"]) == {"vit"} and set(frame["source_seed"]) == {0}
    assert set(gathered(frame, {})["vit"].runs["group"]) == {"base", "new", "H"}


def test_bytes_are_those_of_the_packed_prompt(run):
    _, arms, record = run
    stored = {(r["prompter"], r["arm"]): r["bytes"] for r in record["rows"]}
    n = parameter_count(2, 2, *WIDTHS)
    assert stored["maple", "full"] == 2 * n
    assert stored["zero_shot", "one"] == 0
    for arm in (arm for arm in arms if arm.prompter == "qmaple"):
        packed = arm.learned.quantized.stored_bytes
        assert packed == stored["qmaple", arm.name] == stored["maple", f"ptq-{arm.bits}"]
        assert packed == n * arm.bits / 8 + 3 * 2 * 2**arm.bits  # codebooks of context, deep prompts and projections
    assert record["facts"]["bytes_published"]["full"] == 7_096_320  # as the paper states


@pytest.mark.parametrize("codebooks", ["tensor", "layer"])
def test_files_hold_the_whole_prompt(codebooks):
    this = cell(codebooks=codebooks, bits=[4], epochs=1)
    (arm,) = this._trained(3, 4)
    told = this.stored_and_used_again(arm)
    assert told["bytes of the files"] - told["of these, their headers"] == told["bytes claimed"]
    spread = float(arm.logits["base"].std())
    assert 0 < told["largest change of a logit"] < 0.1 * spread  # half precision


def test_the_hand_written_prompt_is_the_nearest_description(run):
    this, arms, _ = run
    (arm,) = (arm for arm in arms if arm.prompter == "zero_shot")
    task = this.task(3)
    for group, called in (("base", task.base_names), ("new", task.new_names)):
        with torch.no_grad():
            texts = described(TextTower(this.clip), called, ("a picture of a {}.",))
            images = F.normalize(this.clip.visual(this.normalise(task.test[group][0])), dim=1)
        assert torch.equal(torch.cdist(images, texts).argmin(1), arm.logits[group].argmax(1))


def test_after_training_the_learned_prompt_is_quantized_and_stays_itself(run):
    this, arms, _ = run
    maple = arms[0]
    before = maple.learned.prompt.weights.projections.clone()
    prompt = this.quantized(maple.learned.prompt, 1)
    assert prompt.weights.projections.unique().numel() == 2
    assert prompt.weights.context.unique().numel() == 2
    assert maple.learned.prompt.weights.projections.equal(before)
    again = experiment.measure(prompt, this.task(3), this.normalise)
    assert again["new"].equal(next(a for a in arms if a.name == "ptq-1").logits["new"])


def test_arms_of_a_seed_share_their_start_and_pictures():
    this = cell(epochs=1, bits=[8])  # the first epoch warms up: 3 steps at a thousandth of the rate
    full, after, trained, hand_written = this.run()
    start = full.learned.prompt.weights.context
    through = trained.learned.quantized.plain("context")
    assert (start - through).abs().max() < 0.1 * start.std()
    assert hand_written.logits["new"].shape == full.logits["new"].shape
    assert (full.logits["base"].argmax(1) == after.logits["base"].argmax(1)).float().mean() > 0.8


def test_a_run_that_diverges_is_a_row(monkeypatch):
    this = cell()

    def lost(*_, **__):
        raise experiment.Diverged("the training loss was nan")

    monkeypatch.setattr(experiment, "learn_multimodal", lost)
    record = this.record(this.run())
    assert {(r["prompter"], r["arm"]) for r in record["rows"]} == set(ARMS)
    gone = [(r["prompter"], r["arm"]) for r in record["rows"] if r["reason"] == "the training loss was nan"]
    assert set(gone) == set(LEARNED) == {(r["prompter"], r["arm"]) for r in record["rows"] if r["status"] == "diverged"}
    assert "| — | — | — |" in this.conclusion(record).data


def problems(**changes) -> str:
    with pytest.raises(ParameterError) as error:
        study.validate(CONTENT | changes, "params.yaml")
    return str(error.value)


def multimodal(**changes) -> dict:
    return {"multimodal": CONTENT["multimodal"] | {"backbones": ["vit"]} | changes}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (multimodal(backbones=["cnn"]), "multimodal.backbones: 'cnn' is no transformer"),
        (TWO | multimodal(depth=3), "multimodal.depth: 3: vit has 2 blocks; allowed: 1 to 2"),
        (multimodal(), "multimodal.backbones: 'vit' is not in clips; allowed: cnn"),
        ({"clips": ["cnn", "vit"]}, "clips: 'vit' is not in pretrained; allowed: cnn"),
        ({"pretrained": ["cnn", "vit"], "clips": ["vit"]}, "qprompt.backbones: 'cnn' is not in clips; allowed: vit"),
        (TWO | multimodal(bits=[4, 1]), "must increase strictly"),
        (TWO | multimodal(codebooks="block"), "'tensor' or 'layer'"),
    ],
)
def test_bad_parameters_are_told_once(changes, told):
    message = problems(**changes)
    assert told in message
    assert ": 1 problem, " in message


def test_the_text_tower_limits_the_depth_too():
    clip = CONTENT["qprompt"]["clip"] | {"layers": 1}
    told = problems(**TWO, **multimodal(), qprompt=CONTENT["qprompt"] | {"clip": clip})
    assert "the text tower (qprompt.clip.layers) has 1 blocks; allowed: 1 to 1" in told


def test_the_number_of_blocks_that_is_registered_is_the_tower_s():
    from vpstudy.models.architectures import ARCHITECTURES

    assert len(cell().clip.visual.trunk.blocks) == ARCHITECTURES["vit"].blocks


def test_a_transformer_s_clip_is_made_without_other_prompters():
    chosen = study.validate(CONTENT | TWO | multimodal(), "params.yaml")
    assert [c.name for c in grid.cells(chosen, "clip_source")] == [f"clip_source@{b}" for b in ("cnn", "vit")]
    assert [c.name for c in grid.cells(chosen, "multimodal")] == ["multimodal@vit-digits"]
    assert {dict(c.axes)["backbone"] for c in grid.cells(chosen, "prompt")} == {"cnn"}
    assert grid.cells(DEFAULT, "multimodal") == []


def frame(prompter: str, arm: str, backbone: str, gain: float = 0.0, sources: int = 1) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    fixed = {"backbone": backbone, "target": "digits", "prompter": prompter, "arm": arm, "status": "ok", "bits": None}
    return pd.DataFrame(
        fixed
        | {"source_seed": source, "seed": seed, "group": group, "bytes": 5, "accuracy": draw.normal(0.7, 0.02) + gain}
        for source in range(sources)
        for seed in range(5)
        for group in ("base", "new")
    )


@pytest.mark.parametrize(("gain", "verdict"), [(0.05, "reproduced"), (-0.05, "contradicted")])
def test_the_claim_is_judged_on_the_architecture_that_has_its_cells(gain, verdict):
    arms = [("coop", "full", "cnn", 0.0, 3), ("qcoop", "qat-1", "cnn", 0.05, 3)]
    arms += [("maple", "full", "vit"), ("qmaple", "qat-4", "vit", gain), ("maple", "ptq-4", "vit", 0.01)]
    evidence = gathered(pd.concat(frame(*arm) for arm in arms), {})
    assert list(evidence) == ["cnn", "vit"]
    found = {r["id"]: r for r in ledger.assess("qprompt", CLAIMS, *evidence.values())}
    q9 = found["Q9"]
    assert (q9["backbone"], q9["verdict"], q9["source_checkpoints"]) == ("vit", verdict, 1)
    assert [f["label"] for f in q9["findings"]] == [f"QMaPLe, 4 bits − MaPLe, {g}" for g in ("base", "new", "H")]
    assert [f["label"] for f in q9["beside"]] == [f"MaPLe, then 4 bits − MaPLe, {g}" for g in ("base", "new", "H")]
    assert q9["reason"].endswith("from one source checkpoint")
    assert (found["Q8a"]["backbone"], found["Q8a"]["source_checkpoints"]) == ("cnn", 3)
    assert found["Q10"]["verdict"] == NOT_RUN
    assert all(record["other_architectures"] == [] for record in found.values())
    # One correction within the study: the claims on both architectures count.
    judged = [r for r in found.values() if r["p"] is not None]
    smallest = min(judged, key=lambda r: r["p"])
    assert smallest["p_holm"] == pytest.approx(min(1, len(judged) * smallest["p"]))


def test_a_clip_that_has_both_kinds_of_cells_has_its_hand_written_prompt_once():
    both = pd.concat([frame("zero_shot", "one", "vit"), frame("zero_shot", "one", "vit", gain=0.1)])
    runs = gathered(both, {})["vit"].runs
    assert not runs.duplicated(["source_seed", "seed", "target", "group"]).any()
    assert len(gathered(frame("zero_shot", "one", "vit"), {})["vit"].runs) == len(runs)


def test_claims_on_several_architectures_have_those_of_the_others_beside():
    arms = [(p, a, b) for b in ("cnn", "vit") for p, a in (("maple", "full"), ("qmaple", "qat-4"))]
    evidence = gathered(pd.concat(frame(*arm) for arm in arms), {})
    (q9,) = (r for r in ledger.assess("qprompt", CLAIMS, *evidence.values()) if r["id"] == "Q9")
    assert q9["backbone"] == "cnn"
    assert [other["backbone"] for other in q9["other_architectures"]] == ["vit"]
    (alone,) = (r for r in ledger.assess("qprompt", CLAIMS, evidence["vit"]) if r["id"] == "Q9")
    assert q9["other_architectures"][0]["findings"] == alone["findings"]


def test_a_scale_without_the_cells_says_so(capsys, monkeypatch):
    monkeypatch.setattr(qprompt_multimodal, "read", lambda parameters: pd.DataFrame())
    shown = qprompt_multimodal.MultimodalResults(study.load(), save=False)
    assert shown.accuracies() == NOT_RUN
    shown.dots()
    assert capsys.readouterr().out.strip() == NOT_RUN
    assert read(DEFAULT).empty


def test_the_table_has_the_paper_s_numbers_beside_those_here(monkeypatch):
    runs = pd.concat(frame(*arm, "vit") for arm in ARMS)
    monkeypatch.setattr(qprompt_multimodal, "read", lambda parameters: runs)
    shown = qprompt_multimodal.MultimodalResults(study.load(), save=False)
    table = shown.accuracies().set_index("arm")
    assert list(table.index) == [words(arm) for arm in ARMS]
    mean = runs[(runs["arm"] == "qat-4") & (runs["group"] == "new")]["accuracy"].mean()
    assert table.loc["QMaPLe, 4 bits", "new"].startswith(f"{mean:.3f} ± ")
    assert list(table.loc["QMaPLe, 4 bits", ["paper, base", "paper, new", "paper, H"]]) == ["83.02", "75.57", "79.12"]
    assert table.loc["MaPLe", "paper, bytes"] == "7,096,320"
    assert table.loc["MaPLe, then 4 bits", "paper, H"] == "—"
    drawn: list = []
    shown.show = lambda name, figure: drawn.append(figure)
    shown.dots()
    assert [axis.get_title() for axis in drawn[0].axes] == ["base", "new", "H"]
    assert [t.get_text() for t in drawn[0].axes[0].get_yticklabels()] == list(table.index)
