"""The transfer cell: its arms, its result, and the files that it leaves."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from studies import checkpoints, results
from studies.hidden_cost import output
from studies.hidden_cost.cell import TransferCell
from studies.rows import png
from vpstudy import paths
from vpstudy.calibration.metrics import summary
from vpstudy.calibration.temperature import fit_temperature
from vpstudy.settings import problems_of
from vpstudy.training.controls import CONTROLS

PLAIN = ("mapping_only", "visual_prompting", "linear_probe")


@pytest.fixture
def cell(untrained) -> TransferCell:
    return untrained(TransferCell)


def every_step(cell: TransferCell) -> list:
    """As `notebooks/30_transfer.ipynb` has them."""
    learned = [*cell.mapping_only(), *cell.visual_prompting(), *cell.linear_probe()]
    return [*learned, *cell.fine_tuning(), *cell.controls()]


def test_arms_follow_from_the_settings(cell):
    settings = cell.settings.model_copy(update={"fine_tuning_compressions": ["int4"], "budgets": [10, "all", 1]})
    assert settings.largest_budget == "all"
    plain = [(method, budget) for method in PLAIN for budget in (10, "all", 1)]
    assert settings.arms("imp-0.50") == plain
    assert settings.arms("int4") == [*plain, ("fine_tuning", "all")]
    controls = [arm for arm in settings.arms("dense") if arm[0] in CONTROLS]
    assert controls == [
        ("padded_probe", "all"),
        *(("fixed_epochs", budget) for budget in (10, "all", 1)),
        ("random_mapping", "all"),
    ]


def test_a_control_changes_what_it_says_and_nothing_else(cell):
    s = cell.settings
    assert s.schedule("padded_probe", 100) == s.linear_probe.model_copy(update={"inner": 20})
    fixed = s.schedule("fixed_epochs", 100)
    assert fixed.steps == s.visual_prompting.epochs * 2 and fixed.evaluations == 2  # 100 pictures in batches of 64
    for name, control in CONTROLS.items():
        before, after = getattr(s, control.method).model_dump(), s.schedule(name, 100).model_dump()
        assert {key for key in before if before[key] != after[key]} <= {*control.change, "evaluations", "remaps"}


def test_a_control_needs_the_settings_of_its_prompt(cell):
    content = cell.settings.model_dump() | {"controls": ["circle_prompt"]}
    (problem,) = problems_of(content, type(cell.settings))
    assert "circle_prompt needs visual_prompting.prompts.circle" in problem


def test_the_result_and_the_files_of_a_cell(cell):
    outcomes = every_step(cell)
    result = output.result(cell, outcomes)
    checkpoints.save([cell], [outcomes], [result], output.files)
    (read,) = results.read([cell.cell]).contents
    assert (read["facts"], read["rows"]) == (result["facts"], result["rows"])

    seeds, arms = cell.settings.seeds, cell.settings.arms("dense")
    identities = [(row["method"], row["budget"], row["seed"]) for row in result["rows"]]
    assert identities == [(method, str(budget), seed) for method, budget in arms for seed in seeds]
    trained = [row for row in result["rows"] if row["method"] != "mapping_only"]  # one seed: a row an arm
    for row, tuned in zip(trained, result["facts"]["tuning"], strict=True):
        best = max(tuned["tried"], key=lambda one: (one["validation_accuracy"], -one["validation_nll"]))
        assert row["learning_rate"] == best["learning_rate"]

    stored = load_file(paths.PROBABILITIES / "smoke" / "transfer-cnn-dense-digits/0.safetensors")
    for row in result["rows"]:
        key = f"{row['method']}/{row['budget']}/{row['seed']}/test"
        again = summary(stored[key].numpy(), stored[f"{key}/labels"].numpy())
        assert again == {name: row["metrics"][name] for name in again}

    learned = load_file(paths.MODELS / "smoke/cnn/adapted/dense-digits/0.safetensors")
    shown = torch.from_numpy(np.array(Image.open(results.prompt_path(cell.cell)))).permute(2, 0, 1)
    border = torch.sigmoid(learned["visual_prompting/all/0/prompt.theta"])
    border[:, 6:26, 6:26] = 0
    assert torch.equal(shown, (border * 255).round().to(torch.uint8))
    row = next(row for row in result["rows"] if (row["method"], row["budget"]) == ("visual_prompting", "all"))
    assert row["mapping"] == learned["visual_prompting/all/0/mapping"].tolist()

    pool = np.setdiff1d(np.arange(len(cell.data.labels)), cell.data.target.test)
    np.testing.assert_allclose(cell.data.class_shares, np.bincount(cell.data.labels[pool], minlength=10) / len(pool))
    for row in trained:
        key = f"{row['method']}/{row['budget']}/{row['seed']}/validation"
        shares = cell.data.class_shares[stored[f"{key}/labels"].numpy()]  # validation has as many of each class
        logits = stored[key].double().log().numpy()
        again = fit_temperature(logits, stored[f"{key}/labels"].numpy(), shares)
        assert row["metrics"]["temperature"] == pytest.approx(again.temperature, rel=1e-3)
        assert row["unscaled"] == again.problem
    for method in ("mapping_only", "visual_prompting"):
        row = next(row for row in result["rows"] if (row["method"], row["budget"]) == (method, "all"))
        assert len(row["mapping"]) == len(row["evidence"]) == 10 and sum(row["evidence"]) > 0
    pictures, names, sources, source_names = output.mapping_pairs(cell, outcomes)
    assert names == cell.data.class_names and len(pictures) == len(sources) == len(source_names) == 10
    table = output.summary(result)
    assert table["accuracy"].tolist() == [round(row["metrics"]["accuracy"], 3) for row in result["rows"]]


def test_runs_that_diverge_are_results_and_leave_an_unlearned_prompt(cell, monkeypatch):
    from vpstudy.training.fit import Diverged, Learner

    def diverges(*_):
        raise Diverged("too far")

    monkeypatch.setattr(Learner, "loss", diverges)
    monkeypatch.setattr("vpstudy.training.visual_prompting.PromptedBackbone.loss", diverges)
    outcomes = every_step(cell)
    result = output.result(cell, outcomes)
    checkpoints.save([cell], [outcomes], [result], output.files)
    trained = [row for row in result["rows"] if row["method"] != "mapping_only"]
    assert {(row["status"], row["reason"]) for row in trained} == {("diverged", "too far")}
    grey = cell.settings.visual_prompting.make_prompt(0).picture()
    assert results.prompt_path(cell.cell).read_bytes() == png(grey)
    assert output.mapping_pairs(cell, outcomes) == ([], [], [], [])
    assert output.summary(result)["diverged"].sum() == len(trained)
