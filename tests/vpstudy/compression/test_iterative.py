"""Iterative magnitude pruning: exact monotone rounds, rewinding, and continuing after any interruption."""

import copy
from itertools import pairwise

import pytest
import torch
from invariants import is_subset
from torch import nn

from vpstudy.compression.iterative import iterative_magnitude_pruning, load_round, round_path
from vpstudy.compression.magnitude import magnitude

ROUNDS = [0.5, 0.8, 0.9]
PRUNABLE = ["0.weight", "3.weight"]
N_PRUNABLE = 8 * 6 + 4 * 8


class Interrupted(BaseException):
    """Not an Exception, like the signal that stops a run."""


def network(seed: int) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))


class Training:
    """A short training on noise, seeded by the round; remembers its calls, fails in the round `stop`."""

    def __init__(self, stop: int | None = None, rate: float = 0.05):
        self.calls: list[int] = []
        self.begun: list[dict[str, torch.Tensor]] = []
        self.stop, self.rate = stop, rate

    def __call__(self, model: nn.Module, index: int) -> None:
        self.calls.append(index)
        self.begun.append({"weight": model[0].weight.detach().clone(), **copy.deepcopy(model.state_dict())})
        generator = torch.Generator().manual_seed(index)
        optimizer = torch.optim.Adam(model.parameters(), self.rate, weight_decay=0.01)
        model.train()
        for step in range(4):
            if self.stop == index and step == 2:
                raise Interrupted
            optimizer.zero_grad()
            model(torch.randn(16, 6, generator=generator)).square().sum().backward()
            optimizer.step()


def run(folder, training=None, rounds=ROUNDS, source=0, identity="a", model=None):
    return iterative_magnitude_pruning(
        network(source) if model is None else model,
        PRUNABLE,
        network(7).state_dict(),
        rounds,
        Training() if training is None else training,
        folder,
        identity,
    )


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def undisturbed(tmp_path):
    run(tmp_path / "undisturbed")
    return contents(tmp_path / "undisturbed")


def test_rounds_are_exact_and_monotone(tmp_path):
    records = run(tmp_path)
    assert [record.path.name for record in records] == [
        "round-0.50.safetensors",
        "round-0.80.safetensors",
        "round-0.90.safetensors",
    ]
    loaded = [load_round(record.path) for record in records]
    for record, nominal, (weights, mask) in zip(records, ROUNDS, loaded, strict=True):
        assert record.nominal_sparsity == nominal
        assert record.sparsity == mask.sparsity == round(nominal * N_PRUNABLE) / N_PRUNABLE
        assert mask.keys() == set(PRUNABLE)
        for name in PRUNABLE:
            assert (weights[name][~mask[name]] == 0).all()
            assert (weights[name][mask[name]] != 0).all()
        network(0).load_state_dict(weights)  # a whole state dict under plain names
    for (_, earlier), (_, later) in pairwise(loaded):
        assert is_subset(later, earlier)


def test_every_round_is_scored_on_the_weights_of_the_one_before(tmp_path):
    masks = [load_round(record.path)[1] for record in run(tmp_path)]
    weights = [load_round(record.path)[0] for record in run(tmp_path)]
    for index, scored in enumerate([network(0).state_dict(), *weights[:-1]]):
        before = masks[index - 1] if index else None
        expected = magnitude({name: scored[name] for name in PRUNABLE}, ROUNDS[index], mask=before)
        assert masks[index] == expected


def test_every_round_starts_from_the_rewound_and_pruned_weights(tmp_path):
    training = Training()
    records = run(tmp_path, training)
    assert training.calls == [0, 1, 2]
    rewind = network(7).state_dict()
    for record, begun in zip(records, training.begun, strict=True):
        mask = load_round(record.path)[1]
        assert torch.equal(begun["weight"], torch.where(mask["0.weight"], rewind["0.weight"], 0))
        for name in ("0.bias", "1.weight", "1.running_mean", "1.num_batches_tracked"):
            assert torch.equal(begun[name], rewind[name])


def test_the_model_has_its_dense_weights_again(tmp_path):
    model = network(0)
    identities = {name: id(p) for name, p in model.named_parameters()}
    run(tmp_path / "whole", model=model)
    with pytest.raises(Interrupted):
        run(tmp_path / "stopped", Training(stop=1), model=model)
    assert {name: id(p) for name, p in model.named_parameters()} == identities
    expected = network(0).state_dict()
    assert model.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("stop", range(len(ROUNDS)))
def test_continuing_ends_in_the_bytes_of_an_undisturbed_run(tmp_path, undisturbed, stop):
    folder, model = tmp_path / "stopped", network(0)
    with pytest.raises(Interrupted):
        run(folder, Training(stop=stop), model=model)
    again = Training()
    run(folder, again, model=model)
    assert again.calls == list(range(stop, len(ROUNDS)))
    assert contents(folder) == undisturbed


def test_a_second_call_trains_nothing(tmp_path, undisturbed):
    again = Training()
    records = run(tmp_path / "undisturbed", again)
    assert again.calls == []
    assert [record.nominal_sparsity for record in records] == ROUNDS
    assert contents(tmp_path / "undisturbed") == undisturbed


def damage(data: bytes, how: str) -> bytes:
    flipped = bytes([data[-1] ^ 1])
    return {"truncated": data[:-7], "empty": b"", "one bit": data[:-1] + flipped, "other": b"x" * 64}[how]


@pytest.mark.parametrize("how", ["truncated", "empty", "one bit", "other"])
def test_a_damaged_round_is_made_anew(tmp_path, undisturbed, how):
    path = round_path(tmp_path / "undisturbed", 0.8)
    path.write_bytes(damage(path.read_bytes(), how))
    with pytest.raises(ValueError, match=r"round-0\.80\.safetensors"):
        load_round(path)
    again = Training()
    run(tmp_path / "undisturbed", again)
    assert again.calls == [1]  # made again bit for bit, so the next round still follows from it
    assert contents(tmp_path / "undisturbed") == undisturbed


def test_what_a_killed_write_left_is_cleared(tmp_path, undisturbed):
    folder = tmp_path / "undisturbed"
    (folder / ".round-0.70.safetensors.tmp").write_bytes(b"half")
    (folder / "notes.txt").write_bytes(b"kept")
    run(folder)
    assert contents(folder) == {**undisturbed, "notes.txt": b"kept"}


@pytest.mark.parametrize("other", [{"identity": "b"}, {"source": 1}])
def test_rounds_of_another_identity_or_source_are_not_continued(tmp_path, undisturbed, other):
    run(tmp_path / "fresh", **other)
    training = Training()
    run(tmp_path / "undisturbed", training, **other)
    assert training.calls == [0, 1, 2]
    assert contents(tmp_path / "undisturbed") == contents(tmp_path / "fresh") != undisturbed


def test_a_round_made_from_another_previous_round_is_not_continued(tmp_path, undisturbed):
    run(tmp_path / "faster", Training(rate=0.2))  # same identity: as another machine's bits would be
    stale = round_path(tmp_path / "faster", 0.5).read_bytes()
    round_path(tmp_path / "undisturbed", 0.5).write_bytes(stale)
    training = Training()
    run(tmp_path / "undisturbed", training)
    assert training.calls == [1, 2]


def test_other_rounds_reuse_the_common_beginning_and_drop_the_rest(tmp_path, undisturbed):
    training = Training()
    run(tmp_path / "undisturbed", training, rounds=[0.5, 0.7])
    assert training.calls == [1]
    now = contents(tmp_path / "undisturbed")
    assert now.keys() == {"round-0.50.safetensors", "round-0.70.safetensors"}
    assert now["round-0.50.safetensors"] == undisturbed["round-0.50.safetensors"]


@pytest.mark.parametrize("rounds", [[], [0.5, 0.5], [0.8, 0.5], [0.0, 0.5], [0.5, 1.0], [0.5555]])
def test_wrong_rounds_are_an_error_before_anything_is_done(tmp_path, undisturbed, rounds):
    with pytest.raises(ValueError, match="sparsit"):
        run(tmp_path / "undisturbed", rounds=rounds)
    assert contents(tmp_path / "undisturbed") == undisturbed


def test_a_missing_round_is_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_round(round_path(tmp_path, 0.5))
