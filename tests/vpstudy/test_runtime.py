"""Device, precision, threads and seeds."""

import pytest
import torch

from vpstudy.compression.settings import Source
from vpstudy.data import glyphs
from vpstudy.models.architectures import ARCHITECTURES
from vpstudy.models.backbones import Backbone
from vpstudy.runtime import Runtime, configure, generator, seed_for
from vpstudy.settings import Execution
from vpstudy.training.pretraining import train_on_source


def test_seeds_differ_by_purpose_and_by_part_and_never_by_run():
    seeds = [seed_for("split", 0), seed_for("order", 0), seed_for("order", 1), seed_for("order", "1", 0)]
    assert len(set(seeds)) == 4
    assert seed_for("order", 1) == seeds[2]
    assert seed_for("split", 0) == 7070505196895903725  # results depend on it: a change re-runs everything


def test_seeds_and_checkpoints_do_not_add_up(monkeypatch):
    """Checkpoint 1 of seed 0 and checkpoint 0 of seed 1 share neither weights nor pictures."""
    made = [Backbone(ARCHITECTURES["cnn"], glyphs.class_names, *pair) for pair in ((0, 1), (1, 0))]
    assert not torch.equal(*(backbone.classifier.weight for backbone in made))
    source = {
        "checkpoints": 2,
        "size": 32,
        "steps": 10,
        "batch": 4,
        "learning_rate": 0.01,
        "weight_decay": 0,
        "held_out": 100,
    }
    drawn = []
    render = glyphs.render
    monkeypatch.setattr(glyphs, "render", lambda labels, *given: (drawn.append(labels), render(labels, *given))[1])
    for seed, backbone in zip((0, 1), made, strict=True):
        settings = Source(seed=seed, **source)
        train_on_source(backbone, settings, Runtime(torch.device("cpu"), "fp32", 1), stream="s", label="s", start=9)
    assert not torch.equal(*drawn)


def test_generators_of_one_purpose_repeat():
    first, again = (torch.rand(3, generator=generator("order", 7)) for _ in range(2))
    assert torch.equal(first, again)


def test_configuring_sets_threads_and_determinism():
    before = torch.get_num_threads()
    try:
        runtime = configure(Execution(device="cpu", precision="fp32", threads=1, cell_threads=1))
        assert runtime.record() == {"device": "cpu", "precision": "fp32", "threads": 1}
        assert torch.get_num_threads() == 1
        assert torch.are_deterministic_algorithms_enabled()
        auto = configure(Execution(device="cpu", precision="auto", threads=1, cell_threads=1))
        assert auto.precision in ("fp32", "bf16")
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_missing_device_is_an_error():
    with pytest.raises(ValueError, match="no CUDA device"):
        configure(Execution(device="cuda", precision="fp32", threads=1, cell_threads=1))


def test_bf16_keeps_weights_in_fp32():
    runtime = configure(Execution(device="cpu", precision="bf16", threads=torch.get_num_threads(), cell_threads=1))
    layer = torch.nn.Linear(4, 4)
    with runtime.autocast():
        assert layer(torch.rand(2, 4)).dtype == torch.bfloat16
    assert layer.weight.dtype == torch.float32
