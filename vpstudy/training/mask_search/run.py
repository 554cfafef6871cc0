"""One run of a pruning method: a seed and a factor on the learning rates."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch.optim.swa_utils import update_bn

from vpstudy.compression.masks import Mask, release
from vpstudy.data import glyphs
from vpstudy.models.backbones import Backbone
from vpstudy.models.depthwise import quicken
from vpstudy.prompts.label_mapping import Estimate
from vpstudy.prompts.visual.modules import AddedPrompt
from vpstudy.runtime import generator, seed_for
from vpstudy.training.data import Examples, TransferData
from vpstudy.training.mask_search.loop import Passes, train
from vpstudy.training.mask_search.methods import Method
from vpstudy.training.mask_search.settings import MaskSearch
from vpstudy.training.mask_search.subnetwork import Subnetwork, map_labels


@dataclass(frozen=True)
class Candidate:
    """A mask, and the pruned network to tune under it."""

    network: Subnetwork  # with its prompt, if one was trained
    mask: Mask
    tuning: int  # gradient steps left for tuning
    passes: int = 0  # forward and backward passes over a batch so far


@dataclass
class Run:
    """State shared by finders, controls and tuning."""

    source: Backbone  # pretrained, never changed
    data: TransferData
    settings: MaskSearch
    method: Method
    seed: int
    factor: float = 1.0  # of all learning rates
    on_source: bool = False  # find masks on the source task and its classes
    cache: dict[tuple, Mapping[str, torch.Tensor]] = field(default_factory=dict)  # weights and masks that runs share

    def __post_init__(self):
        self.settings = self.settings.changed(self.method.change)
        self.runtime = self.data.runtime
        self.source.to(self.runtime.device)

    @property
    def half(self) -> int:
        """Steps of finding, and of tuning after it, for methods with both."""
        return self.settings.steps // 2

    @cached_property
    def examples(self) -> Examples:
        """The training pictures, uint8."""
        s = self.settings
        if self.on_source:
            n = s.batch * self.half  # each seen once
            pictures, labels = glyphs.dataset(n, seed=seed_for("source masks", self.seed) % 2**31, size=s.canvas)
            return Examples(pictures.to(self.runtime.device), labels.to(self.runtime.device))
        return self.data.examples(self.pictures, self.data.split(s.budget, self.seed).train)

    @property
    def pictures(self) -> torch.Tensor:
        """All pictures of the target at the backbone's input size, uint8 (N, 3, canvas, canvas)."""
        s = self.settings
        return self.data.padded(s.canvas, s.inner if s.inner < s.canvas else None)

    @cached_property
    def estimate(self) -> Estimate:
        """The frequency mapping of the target by the dense source backbone, for all methods and sparsities."""
        return map_labels(self.source, self.examples.inputs, self.examples.labels, len(self.data.class_names))

    @property
    def mapping(self) -> torch.Tensor:
        """The source class of each class (K,)."""
        mapping = torch.arange(len(self.source.class_names)) if self.on_source else self.estimate.mapping
        return torch.as_tensor(mapping, device=self.runtime.device)

    def fresh(self, prompted: bool = False) -> Subnetwork:
        """A copy of the source backbone with the mapping."""
        backbone = copy.deepcopy(self.source).requires_grad_(False)
        if self.runtime.device.type == "cpu":
            quicken(backbone.model)
        return Subnetwork(backbone, self.mapping, self.prompt() if prompted else None).to(self.runtime.device)

    def rewound(self, mask: Mask, passes: int = 0, tuning: int | None = None) -> Candidate:
        """The source weights under a mask, for the target, with `tuning` steps left (default: all)."""
        network = (replace(self, on_source=False) if self.on_source else self).fresh()
        mask.apply_(network.backbone.prunable)
        return Candidate(network, mask, self.settings.steps if tuning is None else tuning, passes)

    def prompt(self) -> AddedPrompt:
        return self.settings.make_prompt(seed_for("prompt", self.seed))

    def train(self, network: Subnetwork, stream: str, *, steps: int, **how: Any) -> int:
        """Train `network` in place with `loop.train`; return the number of passes.

        `stream` names the order of the pictures, which methods share.
        """
        order = generator("pruning", stream, self.seed)
        train(network, self.examples, self.settings, order, self.runtime, steps=steps, factor=self.factor, **how)
        return steps

    def tuned(self, candidate: Candidate, passes: Passes, steps: int, prompt: bool) -> Subnetwork:
        """A copy of a candidate's network with its weights trained under the mask.

        BatchNorm is recalibrated first: few steps would not replace the dense network's statistics. With `prompt`, the
        candidate's prompt or a new one is trained too; otherwise the network has none.
        """
        network = self.recalibrated(candidate.network)
        network.prompt = (network.prompt or self.prompt()).to(self.runtime.device) if prompt else None
        if candidate.mask.sparsity > 0:
            candidate.mask.constrain(network.backbone.model)
        try:
            self.train(network, "tuning", learns="weights", passes=passes, steps=steps)
        finally:
            release(network.backbone.model)
        return network

    def finished(self, candidate: Candidate) -> Subnetwork:
        """A candidate's network after the method's own tuning, for the steps left."""
        method, steps = self.method, candidate.tuning
        return self.tuned(candidate, method.passes, steps, method.tuning_prompt) if steps else candidate.network

    def prompted(self, network: Subnetwork) -> Subnetwork:
        """A copy of a network with a new prompt, trained alone for half of the steps."""
        network = copy.deepcopy(network)
        network.prompt = self.prompt().to(self.runtime.device)
        self.train(network, "prompt", learns="prompt", passes="prompted", steps=self.half)
        return network

    def recalibrated(self, network: Subnetwork) -> Subnetwork:
        """A copy of a network with BatchNorm statistics of the training pictures."""
        network = copy.deepcopy(network)
        update_bn([chunk.float() / 255 for chunk in self.examples.inputs.split(self.settings.batch)], network.backbone)
        return network.eval()
