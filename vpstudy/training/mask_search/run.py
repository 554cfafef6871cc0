"""One run of a pruning method: a seed, a factor on its learning rates, and what it is made from."""

import copy
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch.optim.swa_utils import update_bn

from vpstudy.compression.learned import LearnedMask
from vpstudy.compression.masks import Mask, release
from vpstudy.data import glyphs
from vpstudy.models.backbones import Backbone
from vpstudy.prompts.visual.modules import AddedPrompt
from vpstudy.runtime import generator, seed_for
from vpstudy.training.data import Examples, TransferData
from vpstudy.training.mask_search.channels import LearnedChannels
from vpstudy.training.mask_search.methods import Method
from vpstudy.training.mask_search.settings import MaskSearch
from vpstudy.training.mask_search.subnetwork import Subnetwork, map_labels
from vpstudy.training.mask_search.training import Learning, Passes, Phase, train

Cache = dict[tuple, tuple[dict[str, torch.Tensor], float]]


@dataclass(frozen=True)
class Found:
    """A mask, and the network that is to be tuned under it.

    Attributes
    ----------
    network
        Pruned; its prompt, where it has one, as far as it was learned.
    tuning
        Gradient steps that are left for tuning.
    passes
        Forward and backward passes over a batch that it took so far.
    """

    network: Subnetwork
    mask: Mask
    tuning: int
    passes: int = 0


@dataclass
class Run:
    """What finders and tuning work with.

    Attributes
    ----------
    source
        The pretrained backbone; never changed.
    factor
        Multiplies every learning rate.
    on_source
        Masks are found on the source task, with its own classes, in place of the target.
    cache
        Trained weights that several sparsities start from, and the seconds that they took.
    saved
        Seconds that the cache has spared this run.
    """

    source: Backbone
    data: TransferData
    settings: MaskSearch
    method: Method
    seed: int
    factor: float = 1.0
    on_source: bool = False
    cache: Cache = field(default_factory=dict)
    saved: float = 0.0

    def __post_init__(self):
        self.settings = self.settings.changed(self.method.change)
        self.runtime = self.data.runtime
        self.source.to(self.runtime.device)

    def of_target(self) -> "Run":
        return replace(self, on_source=False)

    @cached_property
    def examples(self) -> Examples:
        """The pictures to learn from, uint8."""
        s = self.settings
        if self.on_source:
            n = s.steps * s.batch // 2  # each seen once
            pictures, labels = glyphs.dataset(n, seed=seed_for("source masks", self.seed) % 2**31, size=s.canvas)
            return Examples(pictures.to(self.runtime.device), labels.to(self.runtime.device))
        return self.data.examples(self.pictures, self.data.split(s.budget, self.seed).train)

    @property
    def pictures(self) -> torch.Tensor:
        """Every picture of the target as the backbone sees it, uint8 (N, 3, canvas, canvas)."""
        s = self.settings
        return self.data.padded(s.canvas, s.inner if s.inner < s.canvas else None)

    @cached_property
    def mapping(self) -> torch.Tensor:
        """Of labels, by the dense source backbone: the same for every method and sparsity."""
        if self.on_source:
            return torch.arange(len(self.source.class_names), device=self.runtime.device)
        examples = self.examples
        return map_labels(self.source, examples.inputs, examples.labels, len(self.data.class_names))

    def fresh(self, prompted: bool = False) -> Subnetwork:
        """The source backbone in a network of its own."""
        return Subnetwork(self._copy(), self.mapping, self.prompt() if prompted else None).to(self.runtime.device)

    def prompt(self) -> AddedPrompt:
        """A prompt that has learned nothing."""
        return self.settings.make_prompt(seed_for("prompt", self.seed))

    def train(
        self,
        network: Subnetwork,
        stream: str,
        learns: Learning,
        passes: Passes,
        steps: int,
        learned: LearnedMask | LearnedChannels | None = None,
        sgd: bool = False,
        score_rate: float | None = None,
        slimming: float = 0.0,
    ) -> int:
        """Train `network` in place; returns the number of passes. `stream` names the order of the pictures."""
        s = self.settings
        phase = Phase(
            learns,
            passes,
            steps,
            weights=self.factor * s.weight_rate,
            scores=self.factor * (score_rate or (s.score_sgd_rate if sgd else s.score_rate)),
            prompt=self.factor * s.prompt_rate,
            sgd=sgd,
            weight_decay=s.weight_decay,
            batch=s.batch,
            shift=s.shift,
            slimming=slimming,
        )
        order = generator("pruning", stream, self.seed)
        train(network, self.examples, phase, order, self.runtime, learned)
        return steps

    def tuned(self, found: Found, passes: Passes, steps: int, prompt: bool, stream: str = "tuning") -> Subnetwork:
        """A copy of a found network whose weights were trained under its mask, from as it was found.

        BatchNorm statistics are measured anew before: those of the dense network would be left over where steps are
        few. The prompt goes on learning if `prompt`, from nothing where there is none; else there is none.
        """
        network = self.recalibrated(found.network)
        network.prompt = (network.prompt or self.prompt()).to(self.runtime.device) if prompt else None
        if found.mask.sparsity > 0:
            found.mask.constrain(network.backbone.model)
        try:
            self.train(network, stream, "weights", passes, steps)
        finally:
            release(network.backbone.model)
        return network

    def prompted(self, network: Subnetwork) -> Subnetwork:
        """A copy of a network with a new prompt, which alone was learned, for half of the steps."""
        network = copy.deepcopy(network)
        network.prompt = self.prompt().to(self.runtime.device)
        self.train(network, "prompt", "prompt", "prompted", self.settings.steps // 2)
        return network

    def recalibrated(self, network: Subnetwork) -> Subnetwork:
        """A copy of a network with BatchNorm statistics of the training pictures, and nothing else changed."""
        network = copy.deepcopy(network)
        batches = [chunk.float() / 255 for chunk in self.examples.inputs.split(self.settings.batch)]
        update_bn(batches, network.backbone)
        return network.eval()

    def _copy(self) -> Backbone:
        backbone = copy.deepcopy(self.source)
        backbone.requires_grad_(False)
        return backbone
