"""The pruning cell: one source checkpoint, target and method, with all sparsities, seeds and controls."""

from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.special import softmax

from studies.backbones import inputs
from studies.cells import Cell
from studies.parameters import Parameters
from vpstudy.calibration.metrics import negative_log_likelihood
from vpstudy.models import backbones
from vpstudy.runtime import configure
from vpstudy.training.data import TransferData
from vpstudy.training.fit import Diverged
from vpstudy.training.mask_search import controls
from vpstudy.training.mask_search.finders import finder
from vpstudy.training.mask_search.methods import CONTROLS, METHODS
from vpstudy.training.mask_search.run import Candidate, Run
from vpstudy.training.mask_search.subnetwork import Subnetwork

BATCH = 256  # pictures in a forward pass


@dataclass(frozen=True)
class Trained:
    """One trained network of a cell."""

    arm: str  # "main"; "published", with as many steps as the paper gives; or a control
    sparsity: float
    seed: int
    factor: float  # of the learning rates
    passes: int = 0  # forward and backward over a batch, finding and tuning together
    candidate: Candidate | None = None
    network: Subnetwork | None = None
    # (N, K) by split ("validation", "test") and view ("bare" without the prompt, "prompted" with it)
    logits: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    rank: tuple[float, float] = (-1.0, 0.0)  # bare accuracy and −NLL on validation; a diverged run ranks last
    reason: str | None = None  # why the run diverged; it then has no network


class PruneCell:
    """Prunes `backbone` for `target` by `pruner`, at every sparsity and seed."""

    def __init__(self, parameters: Parameters, backbone: str, target: str, pruner: str, checkpoint: int = 0):
        if pruner not in METHODS:
            raise ValueError(
                f"pruner {pruner!r} is unknown; allowed: {', '.join(METHODS)} (vpstudy/training/mask_search/methods.py)"
            )
        self.pruner, self.method, self.settings = pruner, METHODS[pruner], parameters.vpns.settings
        axes = {"backbone": backbone, "target": target, "pruner": pruner}
        self.cell = Cell.of("prune_with_prompts", "vpns", parameters.scale, **axes)
        self.runtime = configure(parameters.execution)
        self.checkpoint = checkpoint
        source = inputs.path(parameters, backbone, f"source/{checkpoint}.safetensors")
        self.folder, self.source = source.parents[1], backbones.load(source)
        self.data = TransferData(target, self.settings.validation_per_class, self.runtime, parameters.pictures)
        self.tuning: list[dict] = []  # factors tried, by arm and sparsity
        self._trained_before: dict = {}

    @property
    def sparsities(self) -> list[float]:
        """Shares of weights to prune, or of channels if the method prunes those."""
        s = self.settings
        by_role = {"dense": [0.0], "channels": s.channel_ratios, "ablation": s.control_sparsities}
        return by_role.get(self.method.role, s.sparsities)

    @property
    def arms(self) -> list[tuple[str, float]]:
        """Every (arm, sparsity), each after the arms it builds on."""
        published = ["published"] if self.method.published else []
        settings = self.settings
        chosen = settings.control_pruners == "all" or self.pruner in settings.control_pruners
        also = [name for name in settings.controls if chosen and self.pruner in CONTROLS[name].methods]
        at = self.sparsities if self.method.role == "dense" else settings.control_sparsities
        return [(arm, s) for s in self.sparsities for arm in ["main", *published, *(also if s in at else [])]]

    def train(self, arm: str, sparsity: float, done: list[Trained]) -> list[Trained]:
        """An arm with every seed; what it builds on is among those `done`.

        The first seed's validation split chooses the factor on the learning rates for all seeds.
        """
        if arm in ("main", "published"):
            return self._with_best_factor(arm, sparsity)
        return [self._control(arm, main) for main in done if (main.arm, main.sparsity) == ("main", sparsity)]

    def start(self, seed: int, factor: float = 1.0) -> Run:
        return Run(self.source, self.data, self.settings, self.method, seed, factor, cache=self._trained_before)

    def indices(self, part: str, seed: int) -> torch.Tensor:
        """Indices of the pictures in "train", "validation" or "test"."""
        return torch.as_tensor(getattr(self.data.split(self.settings.budget, seed), part))

    def labels(self, part: str, seed: int) -> np.ndarray:
        """True labels (N,) of a split."""
        return self.data.labels[self.indices(part, seed)].cpu().numpy()

    def _with_best_factor(self, arm: str, sparsity: float) -> list[Trained]:
        """The method with every seed, at the first seed's best factor."""
        first, *others = self.settings.seeds
        tried = [self._prune(arm, sparsity, first, factor) for factor in self.settings.factors]
        best = max(tried, key=lambda one: one.rank)
        scores = [
            {"factor": one.factor, "validation_accuracy": one.rank[0], "validation_nll": -one.rank[1]} for one in tried
        ]
        self.tuning.append({"arm": arm, "sparsity": sparsity, "tried": scores})
        return [best, *(self._prune(arm, sparsity, seed, best.factor) for seed in others)]

    def _prune(self, arm: str, sparsity: float, seed: int, factor: float) -> Trained:
        run = self.start(seed, factor)
        try:
            candidate = finder(self.method.finder)(run, sparsity, **({"published": True} if arm == "published" else {}))
            network, passes = run.finished(candidate), candidate.passes + candidate.tuning
            return self._measured(arm, sparsity, run, candidate, network, passes)
        except Diverged as error:
            return Trained(arm, sparsity, seed, factor, reason=str(error))

    def _control(self, arm: str, main: Trained) -> Trained:
        if main.candidate is None:
            return Trained(arm, main.sparsity, main.seed, main.factor, reason=f"the main run: {main.reason}")
        run = self.start(main.seed, main.factor)
        try:
            network, passes = getattr(controls, arm)(run, main.sparsity, main.candidate, main.network)
            return self._measured(arm, main.sparsity, run, main.candidate, network, passes)
        except Diverged as error:
            return Trained(arm, main.sparsity, main.seed, main.factor, reason=str(error))

    def _measured(
        self, arm: str, sparsity: float, run: Run, candidate: Candidate, network: Subnetwork, passes: int
    ) -> Trained:
        logits = {}
        for part in ("validation", "test"):
            inputs = run.pictures[self.indices(part, run.seed)]
            for view in ("bare", "prompted") if network.prompt is not None else ("bare",):
                logits[part, view] = self._logits(network, inputs, view == "prompted")
        chances, labels = probabilities(logits["validation", "bare"]), self.labels("validation", run.seed)
        rank = float((chances.argmax(1) == labels).mean()), -negative_log_likelihood(chances, labels)
        return Trained(arm, sparsity, run.seed, run.factor, passes, candidate, network, logits, rank)

    def _logits(self, network: Subnetwork, inputs: torch.Tensor, prompted: bool) -> np.ndarray:
        network.eval()
        with torch.inference_mode(), self.runtime.autocast():
            logits = torch.cat([network(chunk.float() / 255, prompted).float() for chunk in inputs.split(BATCH)])
        if not torch.isfinite(logits).all():
            raise Diverged("the logits on held-out pictures are not finite")
        return logits.cpu().numpy()


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Logits (N, K) to float64 probabilities."""
    return softmax(logits.astype(float), axis=1)
