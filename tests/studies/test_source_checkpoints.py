"""Source checkpoints inside a cell: experiments of their own, one result, nothing half-written."""

import pytest
import torch

from studies import checkpoints, results
from studies.backbones import imp
from studies.backbones.compress import CompressCell
from studies.backbones.imp import ImpCell
from studies.backbones.source import SourceCell
from studies.cells import Cell
from studies.claims import ledger
from studies.parameters import load
from studies.vpns import claims as vpns
from vpstudy import atomic, paths
from vpstudy.models import backbones


@pytest.fixture
def parameters(tmp_path, monkeypatch):
    """Two source checkpoints of a few steps each, pruned in two rounds."""
    for name in ("MODELS", "RESULTS", "CODE"):
        monkeypatch.setattr(paths, name, tmp_path / name.lower())
    atomic.write_json(paths.CODE / "imp.json", dict.fromkeys(imp.CODE, ""))
    p = load(paths.SCALES / "default" / "params.yaml")
    few = {"checkpoints": 2, "steps": 4, "batch": 4, "held_out": 100}
    rounds = p.imp.model_copy(update={"rounds": [0.5, 0.8], "rewind_step": 2})
    return p.model_copy(update={"scale": "test", "source": p.source.model_copy(update=few), "imp": rounds})


def pretrained(parameters) -> list[SourceCell]:
    cells = checkpoints.each(SourceCell, parameters, "cnn")
    models, losses = zip(*(cell.pretrain() for cell in cells), strict=True)
    upstream = [cell.measure(model) for cell, model in zip(cells, models, strict=True)]
    found = [cell.result(*of) for cell, *of in zip(cells, models, losses, upstream, strict=True)]
    checkpoints.save(cells, models, found, SourceCell.files)
    return cells


def pruned(parameters, save: bool) -> list[list[dict]]:
    """Upstream rows of every round of each checkpoint."""
    return [cell.measure(cell.prune()) for cell in checkpoints.each(ImpCell, parameters, "cnn", save)]


def test_each_checkpoint_is_an_experiment_of_its_own(parameters):
    cells = pretrained(parameters)
    stored = [backbones.load(paths.MODELS / f"test/cnn/source/{k}.safetensors").model.state_dict() for k in range(2)]
    alone, _ = SourceCell(parameters, "cnn", checkpoint=1).pretrain()
    assert all(torch.equal(value, stored[1][name]) for name, value in alone.model.state_dict().items())
    assert not torch.equal(stored[0]["conv1.0.weight"], stored[1]["conv1.0.weight"])
    read = results.read([cells[0].cell]).frame
    assert read["source_seed"].to_list() == [0, 1]

    both = checkpoints.each(CompressCell, parameters, "cnn", "int4")
    made = [cell.compress() for cell in both]
    found = [cell.result(of, cell.measure(of)) for cell, of in zip(both, made, strict=True)]
    checkpoints.save(both, made, found, CompressCell.files)
    kept = results.read([both[0].cell])
    for k in (1, 0):  # in the other order
        one = CompressCell(parameters, "cnn", "int4", checkpoint=k)
        assert kept.contents[k]["rows"] == [one.measure(one.compress())]
    assert kept.contents[0]["rows"] != kept.contents[1]["rows"]


def test_a_backbone_from_elsewhere_has_one(parameters):
    assert checkpoints.number(parameters, "cnn") == 2
    assert checkpoints.number(parameters.model_copy(update={"weights": {"mobile": None}}), "mobile") == 1


def test_a_cell_that_is_killed_leaves_no_result(parameters):
    (first, _), content = pretrained(parameters), {"environment": {}, "facts": {}, "rows": []}
    results.path(first.cell).unlink()

    def killed(cell, _):
        if cell.checkpoint:
            raise KeyboardInterrupt

    cells = checkpoints.each(SourceCell, parameters, "cnn")
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(cells, [None, None], [content, content], killed)
    assert results.read([first.cell]).missing == [first.cell]


def test_pruning_goes_on_after_the_last_round_of_the_last_checkpoint(parameters, monkeypatch):
    pretrained(parameters)
    train, trained = imp.train_on_source, []

    def counted(model, *values, **words):
        trained.append((model.checkpoint, words["stream"]))
        if len(trained) == 4:
            raise KeyboardInterrupt
        train(model, *values, **words)

    monkeypatch.setattr(imp, "train_on_source", counted)
    with pytest.raises(KeyboardInterrupt):
        pruned(parameters, save=True)
    (paths.MODELS / "test/cnn/imp/2").mkdir()  # of a checkpoint that there is no more
    done = pruned(parameters, save=True)
    assert trained == [(0, "imp-0.50"), (0, "imp-0.80"), (1, "imp-0.50"), (1, "imp-0.80"), (1, "imp-0.80")]
    assert sorted(path.name for path in (paths.MODELS / "test/cnn/imp").iterdir()) == ["0", "1"]
    assert pruned(parameters, save=False) == done


@pytest.mark.parametrize(("networks", "verdict"), [(1, "cannot tell: one network"), (3, "reproduced")])
def test_no_claim_is_judged_from_one_checkpoint(networks, verdict, parameters):
    """VPNs beat IMP by 0.1 with every checkpoint."""
    accuracies, cells = {"vpns": 0.8, "imp": 0.7}, []
    for pruner, accuracy in accuracies.items():
        cells.append(Cell.of("prune_with_prompts", "vpns", "test", backbone="cnn", target="digits", pruner=pruner))
        identity = {"stage": "prune_with_prompts", "study": "vpns", "scale": "test", **dict(cells[-1].axes)}
        run = {"method": "main 0.95 bare", "arm": "main", "sparsity": 0.95, "view": "bare", "collapsed": False}
        run |= {"budget": "20", "status": "ok", "reason": None, "reliability": None}
        found = [
            {"cell": identity, "environment": {}, "facts": {}}
            | {
                "rows": [
                    run | {"seed": s, "metrics": {"accuracy": accuracy + 0.01 * k + 0.001 * s * k}} for s in (0, 1)
                ]
            }
            for k in range(networks)
        ]
        if pruner == "vpns":  # the difference is not the same with each
            found[0]["rows"][0]["metrics"]["accuracy"] += 0.001
        results.write(results.path(cells[-1]), found)
    evidence = vpns.evidence(parameters, results.read(cells))
    (v2,) = (e for e in ledger.assess({"vpns": (vpns.CLAIMS, evidence)}) if e["id"] == "V2")
    assert (v2["networks"], v2["verdict"]) == (networks, verdict)
