"""Text prompts on compressed towers: the cell, what is refused, effects, and the report of either part alone."""

import copy
import functools
import hashlib
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from encoders import encoder
from running import run, run_notebook
from safetensors.torch import save_file
from texts import faults

from pipeline import scales
from studies import allowed, grid, results
from studies import parameters as study_parameters
from studies.across import towers
from studies.across.report import TowersReport
from studies.across.tower_cell import TowerCell
from studies.claims import ledger
from studies.parameters import read, validate
from studies.qprompt import source_models
from studies.qprompt.prompt_cell import PromptCell
from studies.statistics import mean_interval
from vpstudy import paths
from vpstudy.compression import activations
from vpstudy.compression.registry import parse
from vpstudy.compression.text_towers import TextAccess, TextBackbone
from vpstudy.models import backbones, sentence_tower
from vpstudy.models.architectures import ARCHITECTURES, Architecture
from vpstudy.settings import ParameterError
from vpstudy.training.prompt_learning import locked_tuning, tasks

ENTRY = {"model": "timm/resnet10t", "location": "$FILE", "sha256": "0" * 64}
OTHER = {"backbones": ["other"], "targets": ["digits"]}
TEXTS = ["text-dense", "text-w8a8-mse", "text-w3a8-gptq", "text-reconstructed-0.50"]
NAMES = ("one", "two", "three", "dog", "cat", "digit")
ARMS = [("zero_shot", "one"), ("coop", "full"), ("qcoop", "qat-1")]


def merged(content: dict, changes: dict) -> dict:
    return content | {
        key: merged(content[key], value) if isinstance(value, dict) else value for key, value in changes.items()
    }


@pytest.fixture(scope="module")
def using(tmp_path_factory):
    """Parameters with a tiny locked two-tower model, whose files are there, and a file that compresses to the same."""
    folder = tmp_path_factory.mktemp("data")
    file = encoder(folder / "encoder") / "model.safetensors"
    architecture = Architecture("other", ARCHITECTURES["cnn"].model, ARCHITECTURES["cnn"].arguments)
    source = backbones.Backbone(architecture, [*map(str, range(1, 9)), "dog", "cat"], seed=5)
    save_file({name: of.contiguous() for name, of in source.model.state_dict().items()}, folder / "same.safetensors")
    same = {"location": str(folder / "same.safetensors")}
    same["sha256"] = hashlib.sha256((folder / "same.safetensors").read_bytes()).hexdigest()
    tuning = {"location": str(file), "sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "size": 32, "held_out": 2}
    tuning |= {"pictures": "digits", "steps": 2, "names": 3, "pictures_per_step": 4}
    few = {"seeds": [0, 1], "epochs": 2, "evaluations": 1, "shots": 1, "validation_per_class": 2, "bits": [1, 2, 4]}
    content = read(paths.SCALES / "default/params.yaml")
    content |= {"weights": {"other": ENTRY}, "outside": ["other"], "clips": ["other"], "checkpoints": {"same": same}}
    content["real_network"]["axes"]["backbones"] = []
    changes = {"locked_tuning": tuning, "qprompt": {"axes": OTHER, "settings": few}}
    changes["other_pictures"] = {"axes": OTHER, "settings": {"others": ["letters"]}}
    compressions = ["dense", "file-same", "w4a4", "reconstructed-0.50", *TEXTS]
    changes["compressed_towers"] = {"axes": OTHER | {"compressions": compressions}}
    parameters = validate(merged(content, changes), "params.yaml")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MODELS", "RESULTS", "FEATURES", "RAW"):
            patch.setattr(paths, name, folder / name.lower())
        backbones.save(source, paths.MODELS / "default/other/source/0.safetensors")
        cell = source_models.cell(parameters, "other")
        clip, _ = cell.pretrain()
        cell.files(clip)
        yield parameters


@pytest.fixture(scope="module")
def done(using):
    """Each cell, its arms and its result, by compression."""
    found = {}
    for compression in using.compressed_towers.axes.compressions:
        cell = TowerCell(using, "other", compression, "digits")
        arms = run(cell)
        found[compression] = cell, arms, cell.result(arms)
    return found


def test_dense_is_the_plain_cell_of_prompts(done, using):
    cell, arms, result = done["dense"]
    plain = PromptCell(using, "other", "digits", "coop")
    assert torch.equal(cell.features, plain.features) and cell.similarity == pytest.approx(1, abs=1e-6)
    learned = {(arm.name, arm.seed): arm.logits for arm in run(plain)}
    for arm in arms:
        if arm.name == "full":
            assert all(torch.equal(arm.logits[group], learned["full", arm.seed][group]) for group in ("base", "new"))
    assert [(row["prompter"], row["arm"]) for row in result["rows"][::2]] == ARMS * 2
    assert result["cell"]["settings"]["qprompt"]["bits"] == using.compressed_towers.settings.bits == [1]


def test_a_compression_that_changes_nothing_changes_nothing(done):
    (dense, _, one), (same, _, other) = done["dense"], done["file-same"]
    assert torch.equal(dense.features, same.features) and one["rows"] == other["rows"]


@pytest.mark.parametrize("compression", ["w4a4", "reconstructed-0.50"])
def test_only_the_features_of_pictures_are_those_of_the_compressed_network(done, compression):
    (dense, *_), (cell, arms, result) = done["dense"], done[compression]
    assert 0.2 < cell.similarity < 0.9999 and {row["similarity"] for row in result["rows"]} == {cell.similarity}
    with torch.no_grad():
        seen = cell.compressed.backbone.features(cell.data.pictures[:50].float() / 255)
    torch.testing.assert_close(locked_tuning.embedded(cell.clip, seen), cell.features[:50], atol=1e-3, rtol=1e-2)
    task, of_dense = cell.trial(0).task, dense.trial(0).task
    assert torch.equal(task.train[1], of_dense.train[1]) and task.scale == of_dense.scale
    assert torch.equal(cell.trial(0).start, dense.trial(0).start)
    assert all(torch.equal(task.hand_written[g], of_dense.hand_written[g]) for g in ("base", "new"))
    hand = next(arm for arm in arms if arm.name == "one")
    expected = task.scale * task.test["new"][0] @ cell.trial(0).task.hand_written["new"].T
    torch.testing.assert_close(hand.logits["new"], expected, atol=1e-3, rtol=1e-3)
    assert result["facts"]["compressed"]["family"] in compression


@pytest.mark.parametrize("compression", TEXTS)
def test_a_compressed_text_tower_leaves_features_of_pictures_alone(done, compression):
    (dense, _, of_dense), (cell, arms, result) = done["dense"], done[compression]
    torch.testing.assert_close(cell.features, dense.features, atol=1e-5, rtol=1e-5)
    if compression == "text-dense":
        assert cell.similarity == pytest.approx(1, abs=1e-6)
        return
    assert 0.2 < cell.similarity < 1 + 9e-7  # in this tiny encoder, blocks hardly change what passes
    hand = {group: cell.trial(0).task.hand_written[group] for group in ("base", "new")}
    assert not any(torch.equal(hand[group], dense.trial(0).task.hand_written[group]) for group in hand)
    text, before = cell.clip.text.transformer, dense.clip.text.transformer
    assert torch.equal(text.get_input_embeddings().weight, before.get_input_embeddings().weight)
    first, *others = cell.compressed.backbone.prunable.items()  # the first is spared: dense, or of 8 bits
    bits = cell.compressed.compression.bits
    for name, weight in others:
        assert weight.dim() == 2 and not torch.equal(
            weight, before.get_parameter(name.removeprefix("text.transformer."))
        )
        if bits:
            assert all(len(row.unique()) <= 2**bits - 1 for row in weight)
    if bits == 3:
        assert len(first[1].unique()) > 7 * len(first[1])
    _rounds_what_enters(cell, others[-1][0])
    facts = result["facts"]["compressed"]
    assert facts["sparsity"] == pytest.approx(0.5 if "0.50" in compression else 0, abs=0.001)
    assert facts["prunable"] == sum(weight.numel() for weight in cell.compressed.backbone.prunable.values())
    assert of_dense["facts"]["compressed"]["parameters"] != facts["parameters"]
    assert any(arm.name == "qat-1" for arm in arms)


def _rounds_what_enters(cell, weight: str) -> None:
    """While prompts are learned and measured, a layer multiplies at most 2^bits different numbers."""
    seen, bits = [], cell.compressed.compression.activation_bits
    layer = activations.owner(cell.clip.text, weight.removeprefix("text."))
    hook = layer.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    tokens = sentence_tower.tokenize(cell.tower, [f"a photo of the {name}" for name in NAMES])
    cell.tower(cell.tower.embed(tokens), tokens)
    hook.remove()
    different = len(seen[0].unique())
    assert different <= 2**bits if bits else different > 256


def test_padding_does_not_enter_the_statistics_of_a_text_tower(done, using):
    cell, seen = done["dense"][0], []
    tokens = sentence_tower.tokenize(cell.tower, ["cat", "a photo of the dog seven"])
    tokens = tokens[:, : int(sentence_tower.ends(cell.tower, tokens).max()) + 1]
    model = TextAccess(cell.clip.text, tokens, using.compressing).dense().model
    last = [*TextBackbone(cell.clip.text).prunable][-1]
    activations.observe(model, [last], [tokens, tokens[:1, :3]], lambda _, values: seen.append(values))
    (short, long), (alone,) = seen
    torch.testing.assert_close(short, alone.repeat(3, 1)[: len(long)])  # its three states again and again
    text = cell.tower(cell.tower.embed(tokens), tokens)
    torch.testing.assert_close(model(tokens), text)


def test_least_squares_bring_a_text_tower_nearer_to_dense(done, using):
    """On the texts that it saw: pruned alone against pruned and reconstructed."""
    cell = done["dense"][0]
    names = [
        f"a {what} of the {first} {then}" for what in ("picture", "photo") for first, then in product(NAMES, NAMES)
    ]
    access = TextAccess(cell.clip.text, sentence_tower.tokenize(cell.tower, names), using.compressing)
    tokens = access.pictures()[0]
    wanted = access.dense().model(tokens)
    plain, mended = (
        parse(f"{name}-0.70").make(access).backbone.model(tokens) for name in ("magnitude", "reconstructed")
    )
    assert (mended - wanted).square().sum() < 0.5 * (plain - wanted).square().sum()


def test_pictures_pass_the_network_once(using, monkeypatch):
    passed = []
    real = locked_tuning.features

    @functools.wraps(real)  # kept features are those of its code
    def counted(*of):
        passed.append(len(of[1]))
        return real(*of)

    monkeypatch.setattr(locked_tuning, "features", counted)
    monkeypatch.setattr(tasks, "features", lambda *_, **__: pytest.fail("the dense tower's are kept"))
    cell = TowerCell(using, "other", "dense", "digits")
    run(cell)
    assert passed == [len(cell.data.labels)]


def test_results_are_written_and_read_and_nothing_else(done, using, tmp_path):
    for cell, arms, result in done.values():
        results.write(results.path(cell.cell, tmp_path), [result])
        assert len(arms) == 2 * len(ARMS)
    cells = grid.cells(using, "prompt_on_compressed")
    assert {cell for cell, *_ in done.values()} and [cell.cell for cell, *_ in done.values()] == cells
    whole = towers.with_h(results.read(cells, tmp_path).frame)
    assert set(whole["group"]) == {"base", "new", "H"} and set(whole["arm"]) == {"one", "full", "qat"}
    assert len(whole) == (4 + len(TEXTS)) * 2 * 3 * 3
    table = towers.table(whole)
    unchanged = table[table["compression"].isin(["file-same", "text-dense"])]
    assert (unchanged["mean"] == 0).all() and len(unchanged) == 2 * 3 * (3 + 1)


def test_the_notebook_of_a_cell_writes_its_result_and_no_prompts(done, using, monkeypatch):
    for module in (study_parameters, allowed):
        monkeypatch.setattr(module, "load", lambda: using)
    run_notebook("61_prompt_on_compressed", backbone="other", compression="w4a4", target="digits", save=True)
    cell, _, result = done["w4a4"]
    (read,) = results.read([cell.cell]).contents
    assert (read["rows"], read["facts"]) == (result["rows"], result["facts"])
    assert not (paths.MODELS / "default/other/prompts").exists()


def test_a_backbone_that_is_not_locked_has_no_such_cell(using):
    with pytest.raises(ValueError, match="'cnn' is no locked image tower"):
        TowerCell(using, "cnn", "dense", "digits")


CASES = {
    "not locked": (
        {"backbones": ["cnn"]},
        "compressed_towers.axes.backbones: 'cnn' is no locked network with a text tower; allowed: lite0",
    ),
    "trains on the source": (
        {"compressions": ["dense", "w4a4-lsq"]},
        "compressed_towers.axes.compressions: 'w4a4-lsq' trains on the source",
    ),
    "no such file": (
        {"compressions": ["dense", "file-x"]},
        "compressed_towers.axes.compressions: 'file-x' is no entry of checkpoints",
    ),
    "no round of IMP": ({"compressions": ["dense", "imp-0.77"]}, "'imp-0.77' is no round of imp.rounds"),
    "unknown": ({"compressions": ["dense", "int99"]}, "compressed_towers.axes.compressions.1: 'int99'"),
    "no dense": ({"compressions": ["w8a8-mse"]}, "axes.compressions: 'dense' is missing"),
    "pictures of the target": ({"targets": ["photographs"]}, "recovery.pictures: 'photographs' is a target"),
    "a target that nothing fetches": (
        {"targets": ["gtsrb"]},
        "compressed_towers.axes.targets: 'gtsrb' is not embedded",
    ),
    "text tower, unknown": ({"compressions": ["dense", "text-int99"]}, "compressed_towers.axes.compressions.1"),
    "text tower, of another network": (
        {"compressions": ["dense", "text-imp-0.80"]},
        "compressed_towers.axes.compressions: 'text-imp-0.80'",
    ),
    "text tower, distilled": (
        {"compressions": ["dense", "text-magnitude_distilled-0.50"]},
        "'text-magnitude_distilled-0.50' is for image towers alone",
    ),
    "text tower, of a file": (
        {"compressions": ["dense", "text-file-x"]},
        "compressed_towers.axes.compressions: 'text-file-x'",
    ),
    "text tower, with BatchNorm": (
        {"compressions": ["dense", "text-magnitude_bn-0.50"]},
        "'text-magnitude_bn-0.50' is for image towers alone",
    ),
    "no bits": ({"bits": []}, "compressed_towers.settings.bits"),
}


def with_cells() -> dict:
    """The content of params.yaml at scale towers, with some of its compressions."""
    content = scales._plain(scales.compose("towers"))
    content["compressed_towers"]["axes"]["backbones"] = ["lite0", "lite1", "lite2"]
    content["compressed_towers"]["axes"]["compressions"] = ["dense", "w8a8-mse", "text-w4a8-gptq", "reconstructed-0.50"]
    return content


@pytest.mark.parametrize("name", CASES)
def test_bad_values_are_refused_before_any_work(name):
    change, told = CASES[name]
    content = with_cells()
    for key, value in change.items():
        content["compressed_towers"]["settings" if key == "bits" else "axes"][key] = value
    with pytest.raises(ParameterError) as error:
        validate(content, "params.yaml")
    assert told in str(error.value) and "1 problem, nothing was run" in str(error.value)


def test_cells_make_their_own_compressions():
    every = grid.cells(validate(with_cells(), "params.yaml"))
    assert sum(cell.stage == "prompt_on_compressed" for cell in every) == 12
    assert not {cell.stage for cell in every} & {"transfer", "compress"}


# Effects and the report, on results that are drawn.


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Parameters of the scale towers, and a folder of results of its cells of text prompts."""
    folder, draw = tmp_path_factory.mktemp("drawn") / "results", np.random.default_rng(0)
    parameters = validate(with_cells(), "params.yaml")
    for cell in grid.cells(parameters, "prompt_on_compressed"):
        rows = []
        for seed, (prompter, arm), group in product(range(3), ARMS, ("base", "new")):
            row = {"method": f"{arm} {group}", "budget": "16", "seed": seed, "status": "ok", "reason": None}
            metrics = {name: float(draw.uniform(0.2, 0.6)) for name in ("accuracy", "ece_debiased", "nll", "brier")}
            row |= {"metrics": metrics, "reliability": None, "arm": arm, "prompter": prompter, "group": group}
            rows.append(row | {"bits": 1 if arm == "qat-1" else None, "bytes": 0, "distance": 0.1, "similarity": 0.9})
        identity = {"stage": cell.stage, "study": cell.study, "scale": cell.scale} | dict(cell.axes)
        results.write(results.path(cell, folder), [{"cell": identity, "environment": {}, "facts": {}, "rows": rows}])
    return parameters, folder


@pytest.fixture
def here(drawn, tmp_path, monkeypatch):
    """The parameters, with what is read and written in temporary folders."""
    parameters, folder = drawn
    monkeypatch.setattr(paths, "RESULTS", folder)
    for name in ("FIGURES", "VECTORS"):
        monkeypatch.setattr(paths, name, tmp_path / name.lower())
    monkeypatch.setattr(ledger, "path", lambda scale: tmp_path / f"{scale}.json")
    monkeypatch.setattr(study_parameters, "load", lambda: parameters)
    return parameters


def by_hand(frame: pd.DataFrame, compression: str, group: str, one: str, other: str | None = None) -> list[float]:
    """Mean of each network over seeds, in loops."""
    keys = frame[["backbone", "compression", "arm", "seed", "group"]].itertuples(index=False, name=None)
    of = dict(zip(keys, frame["accuracy"], strict=True))

    def accuracy(*run) -> float:
        base, new = of[*run, "base"], of[*run, "new"]
        return {"base": base, "new": new, "H": 2 * base * new / (base + new)}[group]

    def change(network: str, arm: str, seed: int) -> float:
        return accuracy(network, compression, arm, seed) - accuracy(network, "dense", arm, seed)

    return [
        np.mean([change(network, one, seed) - (change(network, other, seed) if other else 0) for seed in range(3)])
        for network in ("lite0", "lite1", "lite2")
    ]


def test_effects_are_those_by_hand(here):
    report = TowersReport(here, save=False)
    frame, checked = report.read.frame, 0
    for compression, group in product(("w8a8-mse", "text-w4a8-gptq", "reconstructed-0.50"), ("base", "new", "H")):
        found = report.effects.query("compression == @compression and group == @group")
        assert set(found["backbone"]) == {"lite0, lite1, lite2"} and set(found["replicates"]) == {3}
        expected = {(towers.COST, arm[:3]): by_hand(frame, compression, group, arm) for _, arm in ARMS}
        expected[towers.MORE, "qat"] = by_hand(frame, compression, group, "qat-1", "full")
        assert len(found) == len(expected)
        for row in found.itertuples():
            interval = mean_interval(expected[row.comparison, row.arm[:3]])
            assert (row.mean, row.low, row.high) == pytest.approx(interval[:3], abs=1e-9)
            checked += 1
    assert checked == len(report.effects) == 9 * 4


def test_the_figure_has_both_questions_and_a_sentence(here):
    ((name, (figure, sentence)),) = TowersReport(here, save=False).drawn("on_compressed").items()
    assert name == "on_compressed" and faults(figure) == []
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == ["(a) hand-written", "(a) CoOp", "(a) QCoOp, 1 bit", "(b) 1 bit − CoOp"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["base", "new", "H"]
    effects = TowersReport(here, save=False).effects
    on_h = effects[effects["group"] == "H"]
    coop, more = on_h[on_h["arm"] == "full"], on_h[on_h["comparison"] == towers.MORE]
    hold = int(((more["low"] <= 0) & (more["high"] >= 0)).sum())
    assert sentence.startswith(f"Compression changes H of CoOp by {coop['mean'].min():+.3f} (")
    assert sentence.endswith(f", and {hold} of {len(more)} intervals contain zero.")


def test_a_scale_with_text_prompts_alone_has_a_page(here, capsys):
    run_notebook("93_across", save=True)
    lines = capsys.readouterr().out
    assert "not run at this scale" in lines and "12 cells, 324 rows" in lines
    made = {path.name for path in (paths.FIGURES / "towers/across").iterdir()}
    assert made == {
        "on_compressed.png",
        *(f"text_{name}.{kind}" for name in ("effects", "results") for kind in ("csv", "md")),
    }
    table = pd.read_csv(paths.FIGURES / "towers/across/text_results.csv")
    assert set(table["backbone"]) == {"lite0", "lite1", "lite2"} and len(table) == 3 * 4 * 3 * 3
    assert set(table.loc[table["on"] == "H", "debiased ECE"]) == {"—"}


def test_a_scale_with_visual_prompts_alone_has_one_too(here, committed_results, monkeypatch, capsys):
    monkeypatch.setattr(paths, "RESULTS", committed_results)
    monkeypatch.setattr(study_parameters, "load", lambda: scales.parameters("default"))
    run_notebook("93_across", save=True)
    assert "not run at this scale" in capsys.readouterr().out
    made = {path.name for path in (paths.FIGURES / "default/across").iterdir()}
    assert "changes.png" in made and "not_run.md" not in made and "on_compressed.png" not in made


def test_without_dense_nothing_is_compared_and_what_is_missing_is_named(here, drawn, tmp_path, monkeypatch, capsys):
    cells = [cell for cell in grid.cells(here, "prompt_on_compressed") if dict(cell.axes)["compression"] != "dense"]
    for cell in cells:
        place = results.path(cell, tmp_path / "some")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(results.path(cell, drawn[1]).read_bytes())
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "some")
    report = TowersReport(copy.deepcopy(here), save=False)
    report.show("on_compressed")
    assert "missing: prompt_on_compressed@lite0-dense-cifar10" in capsys.readouterr().out
    report.show("text_results")
    report.conclude()
