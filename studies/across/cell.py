"""The cell of `across`: visual prompts at every bit width and seed, on one compressed network and one target."""

from dataclasses import dataclass, field

import numpy as np
import torch

from studies.backbones.obtain import obtain
from studies.cells import Cell
from studies.hidden_cost.settings import Settings as HiddenCost
from studies.parameters import Parameters
from vpstudy.models.fused import fused
from vpstudy.progress import track
from vpstudy.prompts import codebook
from vpstudy.prompts.codebook import Packed
from vpstudy.prompts.quantized import QuantizedBorder
from vpstudy.prompts.quantized import Settings as Quantizer
from vpstudy.prompts.visual.modules import BorderPrompt
from vpstudy.runtime import configure, seed_for
from vpstudy.training.data import TransferData
from vpstudy.training.fit import Diverged
from vpstudy.training.outcome import Outcome
from vpstudy.training.visual_prompting import answers, visual_prompting


@dataclass
class Run:
    """A border as stored, and the backbone's test logits with it.

    `arm` is "full", "half" (16 bits), "grey" (untrained), "ptq" (quantized after training) or "qat" (quantized in
    training). "full_other" and "ptq_other" are controls at a learning rate that validation did not choose.
    """

    arm: str
    codebook: str | None
    bits: int
    seed: int
    values: torch.Tensor | None = None  # (n,), as shown; None if training diverged
    artefact: dict[str, torch.Tensor] = field(default_factory=dict)
    logits: np.ndarray | None = None
    packed: Packed | None = None
    rms: float | None = None  # RMS quantization error, in units of the pixel range; None without an original
    refits: int | None = None
    learning_rate: float | None = None
    reason: str | None = None

    @property
    def method(self) -> str:
        rate = f"{self.learning_rate:g}" if self.arm.endswith("_other") else None
        return "-".join(str(part) for part in (self.arm, self.codebook, self.bits, rate) if part is not None)


class QuantizeCell:
    """Learns borders for `target` on `compression` of `backbone`, and quantizes them."""

    def __init__(self, parameters: Parameters, backbone: str, compression: str, target: str, checkpoint: int = 0):
        axes = {"backbone": backbone, "compression": compression, "target": target}
        self.cell = Cell.of("quantize_visual_prompt", "across", parameters.scale, **axes)
        self.checkpoint, self.settings = checkpoint, parameters.across.settings
        hidden_cost: HiddenCost = parameters.hidden_cost.settings
        self.prompting = hidden_cost.visual_prompting
        self.runtime = configure(parameters.execution)
        self.compressed = obtain(parameters, backbone, compression, checkpoint)
        self.compressed.backbone.to(self.runtime.device)
        self.frozen = fused(self.compressed.backbone, self.prompting.canvas)
        self.data = TransferData(target, hidden_cost.validation_per_class, self.runtime, parameters.pictures)
        self.size = len(self.border().values())
        self.tuning: list[dict] = []  # per bits in training, the validation result of each learning rate

    def border(self) -> BorderPrompt:
        """An untrained border."""
        return BorderPrompt(self.prompting.chosen.inner, self.prompting.canvas)

    def indices(self, part: str, seed: int) -> np.ndarray:
        """Indices of the pictures of "train", "validation" or "test"."""
        return getattr(self.data.split(self.settings.budget, seed), part)

    def after_training(self) -> list[Run]:
        """Every border in full, then quantized; the grey border; and borders of the rates that were not chosen."""
        seeds, best = self.settings.seeds, self._best_rate(None)
        runs = [run for seed in seeds for run in [*self._after(seed, best), self._grey(seed)]]
        others = [(rate, seed) for rate in self.prompting.learning_rates if rate != best for seed in seeds]
        return runs + [run for rate, seed in others for run in self._after(seed, rate, "_other")]

    def in_training(self) -> list[Run]:
        """Every border that is trained through a quantizer."""
        runs = []
        for bits in track(self.settings.trained_bits, "in training"):
            rate = self._best_rate(bits)
            runs += [self._in_training(bits, seed, rate) for seed in self.settings.seeds]
        return runs

    def _best_rate(self, bits: int | None) -> float:
        """What the first seed chooses on validation, for all seeds."""
        tried = [self._train(bits, self.settings.seeds[0], rate)[0] for rate in self.prompting.learning_rates]
        self.tuning.append({"bits": bits or 32, "tried": [outcome.trial for outcome in tried]})
        return max(tried, key=lambda outcome: outcome.rank).learning_rate

    def _train(self, bits: int | None, seed: int, rate: float) -> tuple[Outcome, QuantizedBorder | None]:
        """Train in full precision or, with `bits`, through a quantizer; returns its border at the chosen step."""
        s, border = self.settings, None
        if bits:
            how = Quantizer(bits, normalise=False, interval=s.interval, threshold=s.threshold)
            border = QuantizedBorder(self.prompting.chosen.inner, self.prompting.canvas, how, self.runtime.device)
        return visual_prompting(self.frozen, self.data, s.budget, seed, self.prompting.at(rate), border), border

    def _after(self, seed: int, rate: float, control: str = "") -> list[Run]:
        """Train in full precision; measure the border in full, half and quantized. A `control` has fewer arms."""
        outcome, _ = self._train(None, seed, rate)
        plain = [("full", None, 32)] if control else [("full", None, 32), ("half", None, 16)]
        books = self.settings.codebooks[:1] if control else self.settings.codebooks
        arms = [*plain, *(("ptq", name, bits) for name in books for bits in self.settings.bits)]
        runs = [
            Run(arm + control, book, bits, seed, learning_rate=rate, reason=outcome.reason) for arm, book, bits in arms
        ]
        if outcome.status != "ok":
            return runs
        border = self.border()
        border.load_state_dict({"theta": outcome.artefact["prompt.theta"]})
        full = border.values().detach()
        for run in runs:
            run.artefact = outcome.artefact
            if run.codebook:
                draw = seed_for("codebook", dict(self.cell.axes)["backbone"], self.checkpoint, seed)  # of a random one
                run.packed = codebook.quantized(full, run.bits, run.codebook, draw)
            run.values = run.packed.unpacked() if run.packed else (full if run.bits == 32 else full.half()).float()
            run.rms = (run.values - full).square().mean().sqrt().item()
        return [self._measured(run) for run in runs]

    def _grey(self, seed: int) -> Run:
        """The untrained border with a label mapping."""
        outcome = visual_prompting(self.frozen, self.data, self.settings.budget, seed, self.prompting.untrained)
        values = self.border().values().detach()
        run = Run("grey", None, 0, seed, values, outcome.artefact, reason=outcome.reason)
        return self._measured(run) if outcome.status == "ok" else run

    def _in_training(self, bits: int, seed: int, rate: float) -> Run:
        """Train through the quantizer; the border is as stored at the step that validation chose."""
        outcome, border = self._train(bits, seed, rate)
        run = Run("qat", "clustered", bits, seed, learning_rate=rate, reason=outcome.reason)
        if outcome.status != "ok":
            return run
        run.packed, run.refits = border.packed(), len(border.quantizer.refits) - 1
        run.values, run.artefact = run.packed.unpacked(), outcome.artefact
        return self._measured(run)

    def _measured(self, run: Run) -> Run:
        test = self.indices("test", run.seed)
        try:
            run.logits = answers(self.frozen, self.data, self.prompting, run.values, run.artefact, test)
        except Diverged as error:
            run.reason = str(error)
        return run

    def bytes(self, run: Run) -> int:
        """Stored bytes of a border, its codebook included; 0 if nothing is learned."""
        if run.packed:
            return run.packed.bytes
        return 0 if run.arm == "grey" else codebook.stored_bytes(self.size, run.bits)
