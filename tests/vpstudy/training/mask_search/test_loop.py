"""Training of pruned networks: what is trained, what keeps its bits, and exact sparsity at every step."""

import copy
from types import SimpleNamespace

import pytest
import torch

from vpstudy.compression.magnitude import magnitude
from vpstudy.compression.masks import release
from vpstudy.models.architectures import ARCHITECTURES
from vpstudy.models.backbones import Backbone
from vpstudy.prompts.visual.frame import Frame
from vpstudy.runtime import configure
from vpstudy.settings import Execution
from vpstudy.training.data import Examples
from vpstudy.training.fit import Diverged
from vpstudy.training.mask_search.learned import LearnedMask
from vpstudy.training.mask_search.loop import train
from vpstudy.training.mask_search.subnetwork import Subnetwork, map_labels

DRAW = torch.Generator().manual_seed(0)
EXAMPLES = Examples(
    torch.randint(256, (40, 3, 16, 16), dtype=torch.uint8, generator=DRAW), torch.randint(4, (40,), generator=DRAW)
)
RATES = {"weight_rate": 0.05, "score_rate": 0.01, "prompt_rate": 0.1, "weight_decay": 1e-4}
SETTINGS = SimpleNamespace(**RATES, batch=16, shift=1)
TRAINS_PROMPT = {"learns": "prompt", "passes": "prompted"}


def network(prompt: bool = False) -> Subnetwork:
    backbone = Backbone(ARCHITECTURES["cnn"], [str(k) for k in range(9)], seed=1)
    return Subnetwork(backbone, torch.tensor([3, 1, 8, 0]), Frame(width=2).make(16, seed=0) if prompt else None)


def trained(net: Subnetwork, settings=SETTINGS, **how) -> dict[str, torch.Tensor]:
    """The parameters of the backbone after training."""
    runtime = configure(Execution(device="cpu", precision="fp32", threads=1, cell_threads=1))
    how = {"learns": "weights", "passes": "augmented", "steps": 6} | how
    train(net, EXAMPLES, settings, torch.Generator().manual_seed(7), runtime, **how)
    return parameters(net)


def parameters(net: Subnetwork) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in net.backbone.model.named_parameters()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in other)


@pytest.mark.parametrize("sgd", [0.3, None])
@pytest.mark.parametrize("passes", ["augmented", "alternating"])
def test_finding_trains_scores_and_prompt_and_no_weight(monkeypatch, passes, sgd):
    net = network(prompt=True)
    before = parameters(net)
    learned = LearnedMask(net.backbone.model, list(net.backbone.prunable), 0.9)
    start, kept, update = [s.detach().clone() for s in learned.scores], [], learned.update
    monkeypatch.setattr(learned, "update", lambda: (update(), kept.append(learned.mask().kept))[0])
    trained(net, learns="scores", passes=passes, sgd=sgd, learned=learned)
    assert any(not torch.equal(a, b) for a, b in zip(start, learned.scores, strict=True))
    size = learned.mask().size
    assert kept == [size - round(0.9 * size)] * 6  # after each step
    learned.release()
    assert same(parameters(net), before)
    assert bool(net.prompt.theta.any()) == (passes == "alternating")


def test_tuning_leaves_the_mask_as_it_is_and_trains_all_else():
    net = network(prompt=True)
    mask = magnitude(net.backbone.prunable, 0.8)
    before = parameters(net)
    mask.constrain(net.backbone.model)
    trained(net, passes="alternating")
    release(net.backbone.model)
    after = parameters(net)
    for name, kept in mask.items():
        assert not after[name][~kept].any()
        assert not torch.equal(after[name][kept], before[name][kept])
    assert not torch.equal(after["bn1.weight"], before["bn1.weight"])
    assert not torch.equal(after["fc.weight"], before["fc.weight"])
    assert net.prompt.theta.any()


def test_a_prompt_alone_leaves_every_weight_and_every_copy():
    net = network(prompt=True)
    before, other = parameters(net), copy.deepcopy(net)
    assert same(trained(net, **TRAINS_PROMPT), before)
    # one step of Adam a pass, of at most its rate: twice as many would move further
    rates = [0.1 * (1 + torch.cos(torch.tensor(torch.pi * k / 6)).item()) / 2 for k in range(6)]
    assert 0 < net.prompt.theta.abs().max() <= sum(rates) * 1.05
    assert not other.prompt.theta.any()


def test_two_levels_take_turns():
    net = network()
    learned = LearnedMask(net.backbone.model, list(net.backbone.prunable), 0.5, gamma=1.0)
    first, before = [s.detach().clone() for s in learned.scores], parameters(net)
    middle = trained(net, learns="both", steps=1, sgd=0.3, learned=learned)
    assert all(torch.equal(a, b) for a, b in zip(first, learned.scores, strict=True))  # the first turn is the weights'
    assert not same(middle, before)
    trained(net, learns="both", steps=2, sgd=0.3, learned=learned)
    assert any(not torch.equal(a, b) for a, b in zip(first, learned.scores, strict=True))


def test_only_prompted_passes_see_the_prompt(monkeypatch):
    seen, net = [], network(prompt=True)
    loss = net.loss
    monkeypatch.setattr(
        net, "loss", lambda pictures, labels, prompted: (seen.append(prompted), loss(pictures, labels, prompted))[1]
    )
    for passes in ("augmented", "alternating", "prompted"):
        trained(net, passes=passes, steps=4)
    assert seen == [False] * 4 + [True, False] * 2 + [True] * 4


def test_the_same_seed_gives_the_same_bits():
    one, other = (trained(network(prompt=True), passes="alternating") for _ in range(2))
    assert same(one, other)


def test_a_run_that_leaves_the_finite_numbers_has_diverged():
    with pytest.raises(Diverged):
        trained(network(), SimpleNamespace(**RATES | {"weight_rate": 1e30}, batch=16, shift=1), steps=8)


def test_an_l1_norm_shrinks_batchnorm_factors():
    without, with_norm = (
        sum(
            values.abs().sum()
            for name, values in trained(network(), l1=l1).items()
            if "bn" in name and "weight" in name
        )
        for l1 in (0.0, 0.1)
    )
    assert with_norm < without


def test_a_target_logit_is_that_of_its_most_frequent_source_class():
    net = network().eval()
    with torch.no_grad():
        logits = net.backbone(EXAMPLES.inputs.float() / 255)
        assert torch.equal(net(EXAMPLES.inputs.float() / 255), logits[:, [3, 1, 8, 0]])
    mapping, evidence = map_labels(net.backbone, EXAMPLES.inputs, EXAMPLES.labels, 4)
    counts = torch.zeros(9, 4).index_put_((logits.argmax(1), EXAMPLES.labels), torch.ones(40), accumulate=True)
    assert len(set(mapping.tolist())) == 4
    of_classes = counts[torch.as_tensor(mapping), torch.arange(4)]
    assert of_classes.tolist() == evidence.tolist() and of_classes.max() == counts.max()
