"""The cells of the qprompt study on untrained CLIPs: rows, bytes, files, references, runs that diverge."""

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from running import run, run_notebook

from pipeline.cli import main
from studies import allowed, grid, results
from studies import parameters as study_parameters
from studies.qprompt import cell_figures, cell_tables, multimodal_cell
from studies.qprompt.clip_source_cell import ClipSourceCell
from studies.qprompt.every_class_cells import FewShotCell, OtherPicturesCell
from studies.qprompt.evidence import gathered
from studies.qprompt.multimodal_cell import MultimodalCell
from studies.qprompt.prompt_cell import PromptCell
from studies.qprompt.report import QpromptReport
from vpstudy import paths
from vpstudy.models import backbones
from vpstudy.models.architectures import ARCHITECTURES
from vpstudy.models.text_tower import TextTower
from vpstudy.prompts.codebook import stored_bytes
from vpstudy.prompts.text import described
from vpstudy.training.fit import Diverged
from vpstudy.training.prompt_learning import tasks
from vpstudy.training.prompt_learning import trial as trials
from vpstudy.training.prompt_learning.classify import Classifier

WIDTHS = 32, 96  # of the text tower, of the image tower of the transformer
LEARNED = [("maple", "full"), ("maple", "ptq-1"), ("maple", "ptq-4"), ("qmaple", "qat-1"), ("qmaple", "qat-4")]
ARMS = [*LEARNED, ("zero_shot", "one")]


def lost(*_, **__):
    raise Diverged("the training loss was nan")


def apart(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Distances (N, K) of vectors (N, F) from (K, F), exact for near ones too."""
    return torch.cdist(one, other, compute_mode="donot_use_mm_for_euclid_dist")


# The CLIP itself.


def test_a_clip_starts_from_the_source_and_is_measured_on_glyphs_and_targets(small):
    p = small(clip_source={"steps": 2, "batch": 8})
    source = backbones.Backbone(ARCHITECTURES["cnn"], ["a", "b"], seed=5)
    backbones.save(source, paths.MODELS / "default" / "cnn" / "source/0.safetensors")
    cell = ClipSourceCell(p, "cnn")
    clip, losses = cell.pretrain()
    assert len(losses) == 2
    assert [row["method"] for row in cell.measure(clip)] == ["glyphs", *p.qprompt.axes.targets]


# Text prompts, base to new.


@pytest.fixture(scope="module")
def coop(small):
    cell = PromptCell(small(), "cnn", "digits", "coop")
    arms = run(cell)
    return cell, arms, cell.result(arms)


def test_prompts_have_a_row_for_each_arm_and_group(coop, small, tmp_path):
    cell, _, result = coop
    assert [(r["arm"], r["group"]) for r in result["rows"]] == [
        (a, g) for a in ("full", "ptq-1") for g in ("base", "new")
    ]
    assert [r["bytes"] for r in result["rows"][::2]] == [2 * 4 * 32, stored_bytes(128, 1)]
    assert result["facts"]["size_512"] == {"full": 4096, "ptq-1": stored_bytes(2048, 1)}
    assert len(result["facts"]["weights"]["full"]["3"]) == 2  # the start, and the one evaluation
    references = PromptCell(small(), "cnn", "digits", "references")
    of = references.result(run(references))
    assert [(r["arm"], r["group"]) for r in of["rows"]] == [(a, "base") for a in ("probe", "tip", "tip-f")]
    assert set(of["facts"]["size_512"].values()) == {None}
    results.write(results.path(cell.cell, tmp_path), [result])


def test_stored_codes_hold_the_whole_text_prompt(coop):
    cell, arms, _ = coop
    said = cell.stored_and_used_again(arms[1])
    assert said["bytes of codes and codebook"] == said["bytes claimed"]
    assert said["largest change of a logit"] < 0.1 * float(arms[1].logits["base"].std())
    assert [len(words) for words in cell.nearest_words(arms[0].start)] == [3] * 4
    assert [words[0] for words in cell.nearest_words(arms[0].start)] == ["a", "picture", "of", "a"]


@pytest.mark.parametrize("prompter", ["coop", "cocoop", "promptsrc", "tcp"])
def test_a_prompt_in_its_file_classifies_a_folder_as_it_did_in_training(small, prompter, tmp_path, capsys):
    cell = PromptCell(small(), "cnn", "digits", prompter)
    arms = run(cell)
    cell.files(arms)
    model = paths.MODELS / "default/cnn/clip/0.safetensors"
    prompt = paths.MODELS / f"default/cnn/prompts/digits-{prompter}/0.safetensors"
    task, tests = cell.trial(3).task, torch.as_tensor(cell.data.test)
    shown = tests[torch.isin(cell.data.labels[tests], torch.tensor(tasks.base_to_new(cell.data)["base"]))][:10]
    for k, picture in enumerate(cell.data.pictures[shown]):
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(tmp_path / f"{k}.png")
    for arm in arms:
        classifier = Classifier(model, prompt, task.base_names, f"{arm.name}/{arm.seed}")
        answers = classifier.folder(tmp_path)
        logits = cell.trial(3).measured(arm.packed.unpacked())["base"] if arm.packed else arm.logits["base"]
        expected = logits[:10].softmax(1).max(1)
        assert [answer.picture for answer in answers] == [f"{k}.png" for k in range(10)]
        assert [answer.probability for answer in answers] == pytest.approx(expected.values.tolist(), abs=1e-5)
    words = ["--model", str(model), "--prompt", str(prompt), "--classes", ", ".join(task.base_names)]
    assert main(["classify", str(tmp_path), *words, "--csv", str(tmp_path / "out.csv")]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"prompt full/3 of {prompt}" and said[1].split() == ["picture", "class", "probability"]
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines[0] == "picture,class,probability" and len(lines) == len(said) - 1 == 11


def test_cocoop_leaves_out_a_target_with_more_classes_than_it_is_told(small, monkeypatch, capsys):
    own = {"epochs": 2, "evaluations": 1, "most_classes": 4}  # digits has 5 base classes
    few = small(
        qprompt={"axes": {"prompters": ["coop", "cocoop"]}, "settings": {"cocoop": own}},
        source={"checkpoints": 1},
        few_shot={"axes": {"backbones": []}},
        other_pictures={"axes": {"backbones": []}},
        multimodal={"axes": {"backbones": []}},
    )
    for module in (study_parameters, allowed):
        monkeypatch.setattr(module, "load", lambda: few)
    made = [run_notebook("51_prompt", backbone="cnn", target="digits", prompter=name, save=True)
            for name in ("coop", "cocoop")]  # fmt: skip
    read = results.read(grid.cells(few, "prompt"))
    assert not read.missing and set(read.frame["prompter"]) == {"coop"}
    assert made[1]["nothing"].startswith("this prompter leaves out")
    assert read.contents[1]["cell"]["settings"]["qprompt"]["cocoop"]["most_classes"] == 4
    QpromptReport(few, save=False).coverage()
    said = "Left out: CoCoOp on digits, with more base classes than qprompt.settings.cocoop.most_classes."
    assert said in capsys.readouterr().out
    for cell in grid.cells(few, "prompt"):
        results.path(cell).unlink()


def test_cocoop_is_measured_as_often_as_it_is_told(small):
    p = small(qprompt={"settings": {"cocoop": {"epochs": 3, "evaluations": 2}}})
    learned = run(PromptCell(p, "cnn", "digits", "cocoop"))[0].learned
    assert [entry["epoch"] for entry in learned.curve] == [0, 2, 3]


def test_settings_that_came_later_are_recorded_where_they_are_changed_alone(coop):
    assert "most_classes" not in coop[2]["cell"]["settings"]["qprompt"]["cocoop"]
    assert "refit_bits" not in coop[2]["cell"]["settings"]["qprompt"]["quantizers"]


def test_an_unknown_prompter_is_refused(small):
    with pytest.raises(ValueError, match="prompter 'coops' is unknown; allowed: zero_shot, references, coop"):
        PromptCell(small(), "cnn", "digits", "coops")


# Every class: few pictures, and other pictures.


@pytest.fixture(scope="module")
def few_shot(small):
    cell = FewShotCell(small(), "cnn", "digits")
    return cell, run(cell)


@pytest.fixture(scope="module")
def other_pictures(small):
    cell = OtherPicturesCell(small(), "cnn", "digits")
    return cell, run(cell)


def test_few_shot_has_a_row_for_each_arm_and_number_of_pictures(few_shot):
    cell, rows = few_shot
    assert [(r["arm"], r["budget"], r["group"]) for r in rows] == [
        ("zero-shot", "0", "all"),
        *((arm, shots, "all") for shots in ("1", "2") for arm in ("full", "qat-1")),
    ]
    assert {r["arm"]: r["bytes"] for r in rows} == {"zero-shot": 0, "full": 2 * 3 * 32, "qat-1": stored_bytes(96, 1)}
    assert cell.result(rows)["facts"]["groups"]["all"]["pictures"] == 600
    one, two = (cell.trial(0, shots, cell.how).task for shots in (1, 2))
    assert torch.bincount(two.train[1]).tolist() == [2] * 10
    assert all((two.train[0] == feature).all(1).any() for feature in one.train[0])


def test_a_prompt_is_measured_on_every_kind_of_pictures(other_pictures):
    cell, rows = other_pictures
    assert [r["group"] for r in rows if r["arm"] == "full"] == ["all", "inverted", "letters"]
    groups = cell.groups
    assert groups["letters"].labels.max() == 42 and len(groups["letters"].called) == 43
    assert torch.equal(groups["all"].labels, groups["inverted"].labels)
    assert not torch.allclose(groups["all"].features, groups["inverted"].features)
    assert set(cell.examples(4)) == {"digits", "inverted", "letters"}
    table = cell_tables.by_group_and_shots(rows)
    assert ("letters", "1") in [tuple(map(str, column)) for column in table.columns] and len(table) == 3


def test_zero_shot_is_the_nearest_description(other_pictures):
    cell, rows = other_pictures
    accuracies = {r["group"]: r["metrics"]["accuracy"] for r in rows if r["arm"] == "zero-shot"}
    for name, group in cell.groups.items():
        far = apart(group.features, described(cell.tower, group.called, ("a picture of a {}.",)))
        own = group.labels[:, None]
        lead = far.scatter(1, own, torch.inf).amin(1) - far.gather(1, own)[:, 0]
        right = [(lead > least).double().mean().item() for least in (2e-6, -2e-6)]  # without ties, and with
        assert right[0] - 1e-6 <= accuracies[name] <= right[1] + 1e-6 and right[1] - right[0] < 0.02


def test_prompts_for_every_class_that_diverge_are_rows(few_shot, monkeypatch):
    monkeypatch.setattr(trials, "learn", lost)
    rows = [r for r in run(few_shot[0]) if r["arm"] != "zero-shot"]
    assert {(r["status"], r["reason"]) for r in rows} == {("diverged", "the training loss was nan")}
    assert len(rows) == 4 and {r["group"] for r in rows} == {"all"}


def test_figures_of_prompts_for_every_class_show_every_arm(few_shot):
    runs = cell_figures.runs(few_shot[1])
    figure = cell_figures.by_shots(runs)
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["full", "qat-1", "zero-shot"]
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["1", "2"]
    figure = cell_figures.by_group(runs)
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["as learned"]


def test_figures_of_cells_show_every_arm(coop, other_pictures):
    rows, facts = coop[2]["rows"], coop[2]["facts"]
    figure = cell_figures.arms(cell_figures.runs(rows))
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["full", "ptq-1"]
    assert [axis.get_title() for axis in figure.axes] == ["base", "new"]
    assert len(cell_figures.curves(facts["curves"]).axes[0].get_lines()) == 1
    assert sum(bool(axis.get_title()) for axis in cell_figures.reliability(rows).axes) == 2
    shown = other_pictures[0].examples(4)
    assert len(cell_figures.examples(shown).axes) == 1


# Prompts for both towers.


@pytest.fixture(scope="module")
def maple(small):
    cell = MultimodalCell(small(), "vit", "digits")
    arms = run(cell)
    return cell, arms, cell.result(arms)


def test_rows_are_in_the_shape_of_those_of_prompts(maple, tmp_path):
    cell, _, result = maple
    rows = result["rows"]
    assert [(r["prompter"], r["arm"], r["group"]) for r in rows] == [(*a, g) for a in ARMS for g in ("base", "new")]
    assert {(r["status"], r["seed"], r["budget"]) for r in rows} == {("ok", 3, "1")}
    results.write(results.path(cell.cell, tmp_path), [result])
    frame = results.read([cell.cell], tmp_path).frame
    assert set(frame["backbone"]) == {"vit"} and set(frame["source_seed"]) == {0}
    assert set(gathered(frame, ()).runs["group"]) == {"base", "new", "H"}


def test_bytes_are_those_of_the_packed_prompt(maple):
    _, arms, result = maple
    stored = {(r["prompter"], r["arm"]): r["bytes"] for r in result["rows"]}
    text, image = WIDTHS
    n = 2 * text * (2 + image)  # depth · text width · (context vectors + image width)
    assert stored["maple", "full"] == 2 * n
    assert stored["zero_shot", "one"] == 0
    for arm in (arm for arm in arms if arm.prompter == "qmaple"):
        packed = sum(part.bytes for part in arm.learned.quantized.packed().values())
        assert packed == stored["qmaple", arm.name] == stored["maple", f"ptq-{arm.bits}"]
        assert packed == n * arm.bits / 8 + 3 * 2 * 2**arm.bits  # codebooks of context, deep prompts and projections
    assert result["facts"]["bytes_published"]["full"] == 7_096_320  # as the paper states


def test_stored_codes_hold_the_whole_prompt(maple):
    cell, arms, _ = maple
    arm = next(arm for arm in arms if arm.name == "qat-4")
    said = cell.stored_and_used_again(arm)
    assert said["bytes of codes and codebooks"] == said["bytes claimed"]
    assert 0 < said["largest change of a logit"] < 0.1 * float(arm.logits["base"].std())  # half precision


def test_the_hand_written_prompt_is_the_nearest_description(maple):
    cell, arms, _ = maple
    (arm,) = (arm for arm in arms if arm.prompter == "zero_shot")
    task = cell.task(3)
    for group, called in (("base", task.base_names), ("new", task.new_names)):
        with torch.no_grad():
            texts = described(TextTower(cell.clip), called, ("a picture of a {}.",))
            images = F.normalize(cell.clip.visual(cell.normalise(task.test[group][0])), dim=1)
        cosines = 1 - apart(images, texts).square() / 2
        torch.testing.assert_close(arm.logits[group], task.scale * cosines, rtol=1e-4, atol=1e-3)


def test_after_training_the_learned_prompt_is_quantized_and_stays_itself(maple):
    cell, arms, _ = maple
    weights = arms[0].learned.prompt.weights
    before = weights.projections.clone()
    prompt = cell.quantized(weights, 1, cell.task(3))
    assert prompt.weights.projections.unique().numel() == prompt.weights.context.unique().numel() == 2
    assert weights.projections.equal(before)
    again = multimodal_cell.measure(prompt, cell.task(3), cell.normalise)
    assert again["new"].equal(next(a for a in arms if a.name == "ptq-1").logits["new"])


def test_arms_of_a_seed_share_their_start_and_pictures(maple):
    """Two epochs, of which one warms up, leave the context near its start."""
    full, through = (a.learned for a in maple[1] if a.name in ("full", "qat-4"))
    start = full.prompt.weights.context
    assert (start - through.quantized.plain("context")).abs().max() < start.std()


def test_a_multimodal_run_that_diverges_is_rows(maple, monkeypatch):
    cell = maple[0]
    monkeypatch.setattr(multimodal_cell, "learn_multimodal", lost)
    result = cell.result(run(cell))
    assert {(r["prompter"], r["arm"]) for r in result["rows"]} == set(ARMS)
    gone = {(r["prompter"], r["arm"]) for r in result["rows"] if r["status"] == "diverged"}
    assert gone == set(LEARNED)
    table = cell_tables.base_and_new(result["rows"]).set_index(["prompter", "arm"])
    assert set(table.index) == set(ARMS)
    assert {name for name, row in table.iterrows() if row[["base", "new", "harmonic mean"]].isna().all()} == gone


def test_cells_are_those_of_the_axes(small):
    names = {stage: [cell.slug for cell in grid.cells(small(), stage)] for stage in ("clip_source", "multimodal")}
    assert names == {"clip_source": ["cnn", "vit"], "multimodal": ["vit-digits"]}
    none = {name: {"axes": {"backbones": []}} for name in ("few_shot", "other_pictures", "multimodal")}
    for name in ("few_shot", "other_pictures"):
        assert [cell.slug for cell in grid.cells(small(), name)] == ["cnn-digits"]
    assert not any(grid.cells(small(**none), name) for name in none)
