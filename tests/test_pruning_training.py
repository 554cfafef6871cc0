"""Training of pruned networks: what learns, what stays bit for bit, and exact sparsity at every step."""

import copy

import pytest
import torch

from vpstudy.compression.learned import LearnedMask
from vpstudy.compression.magnitude import magnitude
from vpstudy.compression.masks import release
from vpstudy.models.architectures import ARCHITECTURES
from vpstudy.models.backbones import Backbone
from vpstudy.prompts.visual.frame import Frame
from vpstudy.runtime import configure
from vpstudy.settings import Execution
from vpstudy.training.data import Examples
from vpstudy.training.mask_search.subnetwork import Subnetwork, map_labels
from vpstudy.training.mask_search.training import Diverged, Phase, train

DRAW = torch.Generator().manual_seed(0)
EXAMPLES = Examples(
    torch.randint(256, (40, 3, 16, 16), dtype=torch.uint8, generator=DRAW), torch.randint(4, (40,), generator=DRAW)
)
PHASE = Phase("weights", "augmented", 6, weights=0.05, scores=0.01, prompt=0.1, batch=16, shift=1, weight_decay=1e-4)


@pytest.fixture
def runtime():
    return configure(Execution(device="cpu", precision="fp32", threads=1, cell_threads=1))


def network(prompt: bool = False) -> Subnetwork:
    backbone = Backbone(ARCHITECTURES["cnn"], [str(k) for k in range(9)], seed=1)
    return Subnetwork(backbone, torch.tensor([3, 1, 8, 0]), Frame(width=2).make(16, seed=0) if prompt else None)


def order() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def change(**values) -> Phase:
    return Phase(**{**PHASE.__dict__, **values})


def parameters(net: Subnetwork) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in net.backbone.model.named_parameters()}


@pytest.mark.parametrize("sgd", [True, False])
@pytest.mark.parametrize("passes", ["augmented", "alternating"])
def test_stage_1_learns_scores_and_prompt_and_no_weight(runtime, monkeypatch, passes, sgd):
    net = network(prompt=True)
    before = parameters(net)
    learned = LearnedMask(net.backbone.model, list(net.backbone.prunable), 0.9)
    start, kept, update = [s.detach().clone() for s in learned.scores], [], learned.update
    monkeypatch.setattr(learned, "update", lambda: (update(), kept.append(learned.mask().kept))[0])
    train(net, EXAMPLES, change(learns="scores", passes=passes, sgd=sgd), order(), runtime, learned)
    assert any(not torch.equal(a, b) for a, b in zip(start, learned.scores, strict=True))
    size = learned.mask().size
    assert kept == [size - round(0.9 * size)] * 6  # after each step
    learned.release()
    after = parameters(net)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert bool(net.prompt.theta.any()) == (passes == "alternating")


def test_stage_2_leaves_the_mask_as_it_is_and_trains_all_else(runtime):
    net = network(prompt=True)
    mask = magnitude(net.backbone.prunable, 0.8)
    before = parameters(net)
    mask.constrain(net.backbone.model)
    train(net, EXAMPLES, change(passes="alternating"), order(), runtime)
    release(net.backbone.model)
    after = parameters(net)
    for name, kept in mask.items():
        assert not after[name][~kept].any()
        assert not torch.equal(after[name][kept], before[name][kept])
    assert not torch.equal(after["bn1.weight"], before["bn1.weight"])
    assert not torch.equal(after["fc.weight"], before["fc.weight"])
    assert net.prompt.theta.any()


def test_a_prompt_alone_leaves_every_weight(runtime):
    net = network(prompt=True)
    before = parameters(net)
    train(net, EXAMPLES, change(learns="prompt", passes="prompted"), order(), runtime)
    after = parameters(net)
    assert all(torch.equal(after[name], before[name]) for name in before)
    # one step of Adam a pass, of at most its rate: twice as many would move further
    rates = [0.1 * (1 + torch.cos(torch.tensor(torch.pi * k / 6)).item()) / 2 for k in range(6)]
    assert 0 < net.prompt.theta.abs().max() <= sum(rates) * 1.05


def test_two_levels_take_turns(runtime):
    net = network()
    learned = LearnedMask(net.backbone.model, list(net.backbone.prunable), 0.5, gamma=1.0)
    first = [s.detach().clone() for s in learned.scores]
    before = parameters(net)
    train(net, EXAMPLES, change(learns="both", steps=1, sgd=True), order(), runtime, learned)
    assert all(torch.equal(a, b) for a, b in zip(first, learned.scores, strict=True))  # the first turn is the weights'
    middle = parameters(net)
    assert any(not torch.equal(middle[name], before[name]) for name in before)
    train(net, EXAMPLES, change(learns="both", steps=2, sgd=True), order(), runtime, learned)
    assert any(not torch.equal(a, b) for a, b in zip(first, learned.scores, strict=True))


def test_only_prompted_passes_see_the_prompt(runtime, monkeypatch):
    seen, net = [], network(prompt=True)
    original = net.loss

    def noted(pictures, labels, prompted=False):
        seen.append(prompted)
        return original(pictures, labels, prompted)

    monkeypatch.setattr(net, "loss", noted)
    for passes in ("augmented", "alternating", "prompted"):
        train(net, EXAMPLES, change(passes=passes, steps=4), order(), runtime)
    assert seen == [False] * 4 + [True, False] * 2 + [True] * 4


def test_the_same_seed_gives_the_same_bits(runtime):
    nets = [network(prompt=True) for _ in range(2)]
    for net in nets:
        train(net, EXAMPLES, change(passes="alternating"), order(), runtime)
    first, second = (net.state_dict() for net in nets)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_that_leaves_the_finite_numbers_is_told(runtime):
    with pytest.raises(Diverged):
        train(network(), EXAMPLES, change(weights=1e30, steps=8), order(), runtime)


def test_slimming_shrinks_batchnorm_factors(runtime):
    totals = []
    for slimming in (0.0, 0.1):
        net = network()
        train(net, EXAMPLES, change(slimming=slimming), order(), runtime)
        norms = [m for m in net.backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        totals.append(sum(norm.weight.abs().sum().item() for norm in norms))
    assert totals[1] < totals[0]


def test_a_target_logit_is_its_source_logit():
    net = network().eval()
    pictures = torch.rand(3, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(net(pictures), net.backbone(pictures)[:, [3, 1, 8, 0]])


def test_labels_are_mapped_one_to_one_by_frequency():
    backbone = Backbone(ARCHITECTURES["cnn"], [str(k) for k in range(9)], seed=1)
    mapping = map_labels(backbone, EXAMPLES.inputs, EXAMPLES.labels, 4)
    with torch.no_grad():
        predicted = backbone.eval()(EXAMPLES.inputs.float() / 255).argmax(1)
    counts = torch.zeros(9, 4)
    for source, target in zip(predicted, EXAMPLES.labels, strict=True):
        counts[source, target] += 1
    assert len(set(mapping.tolist())) == 4
    best = divmod(int(counts.argmax()), 4)
    assert mapping[best[1]] == best[0]


def test_copies_do_not_share_their_prompt(runtime):
    net = network(prompt=True)
    other = copy.deepcopy(net)
    train(other, EXAMPLES, change(learns="prompt", passes="prompted"), order(), runtime)
    assert not net.prompt.theta.any()
