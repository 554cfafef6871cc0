"""The cell of `across`: one compressed backbone, one target, its visual prompts at every number of bits and seed."""

import base64
import io
from dataclasses import dataclass, field

import numpy as np
import torch
from IPython.display import Markdown
from PIL import Image
from safetensors.torch import save as serialize
from scipy.special import softmax

from studies import results
from studies.across import figures as across
from studies.across.settings import Settings
from studies.cells import Cell
from studies.hidden_cost.settings import Settings as HiddenCost
from studies.rows import head, row
from studies.statistics import mean_interval
from vpstudy import atomic, paths
from vpstudy.compression.compressed import obtain
from vpstudy.models.fused import fused
from vpstudy.progress import track
from vpstudy.prompts.codebook import Packed, stored_bytes
from vpstudy.prompts.quantized import Settings as Quantizer
from vpstudy.prompts.quantized_border import FixedBorder, QuantizedBorder, quantized
from vpstudy.prompts.visual.modules import BorderPrompt
from vpstudy.runtime import configure
from vpstudy.settings import Execution, section
from vpstudy.training.data import TransferData
from vpstudy.training.fit import Diverged
from vpstudy.training.outcome import Outcome
from vpstudy.training.quantized_prompting import answers, quantized_prompting
from vpstudy.training.visual_prompting import prompted, visual_prompting


@dataclass
class Run:
    """One border as it is stored, and what the backbone answers with it on the test split.

    Attributes
    ----------
    arm
        "full", "half" (16 bits), "grey" (nothing learned), "ptq" (quantized after training) or "qat" (trained so);
        "full_other" and "ptq_other" are controls, at the learning rate that was not chosen.
    values
        What the border shows, (n,); None where training diverged.
    rms
        Root mean square of what quantization changed, in units of the pixel range; None where there is no original.
    """

    arm: str
    codebook: str | None
    bits: int
    seed: int
    values: torch.Tensor | None = None
    artefact: dict[str, torch.Tensor] = field(default_factory=dict)
    logits: np.ndarray | None = None
    packed: Packed | None = None
    rms: float | None = None
    refits: int | None = None
    learning_rate: float | None = None
    reason: str | None = None

    @property
    def method(self) -> str:
        rate = f"{self.learning_rate:g}" if self.arm.endswith("_other") else None
        return "-".join(str(part) for part in (self.arm, self.codebook, self.bits, rate) if part is not None)


class QuantizeCell:
    """Learn visual prompts for `target` on `compression` of `backbone`, and quantize them in every way asked for."""

    def __init__(self, scale: str, backbone: str, compression: str, target: str):
        self.scale, self.backbone, self.compression, self.target = scale, backbone, compression, target
        axes = {"backbone": backbone, "compression": compression, "target": target}
        self.cell = Cell.of("quantize_visual_prompt", "across", scale, **axes)
        self.settings = section("across.settings", Settings, scale)
        hidden_cost = section("hidden_cost.settings", HiddenCost, scale)
        self.prompting = hidden_cost.visual_prompting
        self.runtime = configure(section("execution", Execution, scale))
        self.compressed = obtain(scale, backbone, compression)
        self.compressed.backbone.to(self.runtime.device)
        self.frozen = fused(self.compressed.backbone, self.prompting.canvas)
        self.data = TransferData(target, hidden_cost.validation_per_class, self.runtime)
        self.tuning: list[dict] = []

    @property
    def size(self) -> int:
        """Values of a border."""
        return 3 * (self.prompting.canvas**2 - self.prompting.chosen.inner**2)

    def run(self) -> list[Run]:
        """Every arm with every seed; the first seed tries every learning rate, and validation chooses for all seeds."""
        runs = []
        for bits in track([None, *self.settings.trained_bits], f"{self.compression} on {self.target}"):
            rate = self._rate(bits)
            for seed in self.settings.seeds:
                runs += self.trained(bits, seed, rate) if bits else [*self.afterwards(seed, rate), self.grey(seed)]
            for other in self.prompting.learning_rates if bits is None else []:
                if other != rate:
                    runs += [run for seed in self.settings.seeds for run in self.afterwards(seed, other, "_other")]
        return runs

    def _rate(self, bits: int | None) -> float:
        tried = [self._train(bits, self.settings.seeds[0], rate)[0] for rate in self.prompting.learning_rates]
        values = [
            {"learning_rate": o.learning_rate, "validation_accuracy": o.rank[0], "validation_nll": -o.rank[1]}
            for o in tried
        ]
        self.tuning.append({"bits": bits or 32, "tried": values})
        return max(tried, key=lambda outcome: outcome.rank).learning_rate

    def _train(self, bits: int | None, seed: int, rate: float) -> tuple[Outcome, QuantizedBorder | None]:
        s, how = self.settings, self.prompting.at(rate)
        if bits is None:
            return visual_prompting(self.frozen, self.data, s.budget, seed, how), None
        quantizer = Quantizer(bits, normalise=False, interval=s.interval, threshold=s.threshold)
        return quantized_prompting(self.frozen, self.data, s.budget, seed, how, quantizer)

    def afterwards(self, seed: int, rate: float, control: str = "") -> list[Run]:
        """One training in full precision; its border in full, in half precision and quantized.

        As a `control`, at a learning rate that was not chosen: in full, and by the first codebook alone.
        """
        outcome, _ = self._train(None, seed, rate)
        s = self.settings
        quantizers = [(name, bits) for name in s.codebooks[: 1 if control else None] for bits in s.bits]
        plain = [("full", 32)] if control else [("full", 32), ("half", 16)]
        arms = [(arm + control, None, bits) for arm, bits in plain]
        common = {"seed": seed, "learning_rate": rate}
        if outcome.status != "ok":
            arms += [("ptq" + control, *each) for each in quantizers]
            return [Run(*arm, reason=outcome.reason, **common) for arm in arms]
        border = BorderPrompt(self.prompting.chosen.inner, self.prompting.canvas)
        border.load_state_dict({"theta": outcome.artefact["prompt.theta"]})
        values = border.values().detach()
        common["artefact"] = outcome.artefact
        runs = [Run(*arm, values=values if arm[2] == 32 else values.half(), **common) for arm in arms]
        for name, bits in quantizers:
            packed = quantized(values, bits, name, seed)
            runs.append(Run("ptq" + control, name, bits, values=packed.unpacked(), packed=packed, **common))
        for each in runs:
            each.values = each.values.float()
            each.rms = (each.values - values).square().mean().sqrt().item()
        return [self._measured(each) for each in runs]

    def grey(self, seed: int) -> Run:
        """What the backbone does with the border that training starts from, and a mapping: nothing is learned."""
        border = BorderPrompt(self.prompting.chosen.inner, self.prompting.canvas)
        learner = prompted(self.frozen, self.data, self.settings.budget, seed, self.prompting, border)
        artefact = {name: tensor.cpu() for name, tensor in learner.state_dict().items()}
        return self._measured(Run("grey", None, 0, seed, border.values().detach().cpu(), artefact))

    def trained(self, bits: int, seed: int, rate: float) -> list[Run]:
        """A border that is trained through the quantizer, as it is stored at the moment that validation chose."""
        outcome, border = self._train(bits, seed, rate)
        run = Run("qat", "clustered", bits, seed, learning_rate=rate, reason=outcome.reason)
        if outcome.status != "ok":
            return [run]
        run.packed, run.refits = border.packed(), len(border.quantizer.log.refits) - 1
        run.values, run.artefact = run.packed.unpacked(), outcome.artefact
        return [self._measured(run)]

    def _measured(self, run: Run) -> Run:
        test = self.data.split(self.settings.budget, run.seed).test
        try:
            run.logits = answers(self.frozen, self.data, self.prompting, run.values, run.artefact, test)
        except Diverged as error:
            run.reason = str(error)
        return run

    def record(self, runs: list[Run]) -> dict:
        """Everything that figures and tables read of this cell."""
        record = head(self.cell, self.runtime, across=self.settings, visual_prompting=self.prompting)
        split = self.data.split(self.settings.budget, self.settings.seeds[0])
        record["facts"] = {
            "classes": self.data.class_names,
            "pictures": {part: len(getattr(split, part)) for part in ("train", "validation", "test")},
            "values": self.size,
            "backbone_bytes": self.compressed.facts()["bytes"],
            "tuning": self.tuning,
        }
        return record | {"rows": [self._row(run) for run in runs]}

    def bytes(self, run: Run) -> int:
        """What is stored of a border: codes and codebook; of one that is not learned, nothing."""
        if run.packed:
            return run.packed.bytes
        return 0 if run.arm == "grey" else stored_bytes(self.size, run.bits)

    def _row(self, run: Run) -> dict:
        details = {key: getattr(run, key) for key in ("arm", "codebook", "bits", "rms", "refits", "learning_rate")}
        details["prompt_png"] = self._png(run) if run.seed == self.settings.seeds[0] else None
        budget = self.settings.budget
        if run.logits is None:
            identity = {"method": run.method, "budget": str(budget), "seed": run.seed, "status": "diverged"}
            nothing = {"reason": run.reason, "metrics": None, "reliability": None, "prompt_bytes": None}
            return identity | nothing | details
        test = self.data.split(budget, run.seed).test
        labels = self.data.labels[torch.as_tensor(test)].cpu().numpy()
        probabilities = softmax(run.logits.astype(float), axis=1).astype(np.float32)
        measured = row(run.method, probabilities, labels, budget=budget, seed=run.seed)
        return measured | {"prompt_bytes": self.bytes(run)} | details

    def picture(self, run: Run) -> np.ndarray:
        """The border, uint8 (3, canvas, canvas), black where the picture goes."""
        border = FixedBorder(self.prompting.chosen.inner, self.prompting.canvas, run.values)
        return (border.picture() * 255).round().to(torch.uint8).numpy()

    def _png(self, run: Run) -> str | None:
        wanted = run.arm in ("full", "qat") or (run.arm, run.codebook) == ("ptq", "clustered")
        if run.values is None or not wanted:
            return None
        buffer = io.BytesIO()
        Image.fromarray(np.moveaxis(self.picture(run), 0, 2)).save(buffer, "png", optimize=True)
        return base64.b64encode(buffer.getvalue()).decode()

    def conclusion(self, record: dict) -> Markdown:
        """Accuracy, debiased ECE and bytes of every arm: means over the seeds that finished."""
        lines = ["| prompt | accuracy | debiased ECE | bytes | seeds |", "|---|---|---|---|---|"]
        for method in dict.fromkeys(r["method"] for r in record["rows"]):
            rows = [r for r in record["rows"] if r["method"] == method]
            done = [r for r in rows if r["status"] == "ok"]
            means = [mean_interval([r["metrics"][m] for r in done]).mean for m in ("accuracy", "ece_debiased")]
            texts = [f"{mean:.3f}" if done else "diverged" for mean in means]
            bytes_ = f"{done[0]['prompt_bytes']:,}" if done else "—"
            label = across.label(rows[0]["arm"], rows[0]["codebook"], rows[0]["bits"])
            lines.append(f"| {label} | {texts[0]} | {texts[1]} | {bytes_} | {len(done)} |")
        return Markdown("\n".join(lines))

    def save(self, runs: list[Run], record: dict) -> None:
        """Write every border as it is stored, then, last, the record."""
        stored = {}
        for run in runs:
            key = f"{run.method}/{run.seed}"
            if run.packed:
                stored |= {f"{key}/codes": run.packed.codes, f"{key}/book": run.packed.book}
            elif run.values is not None:
                stored[f"{key}/values"] = run.values.contiguous()
            output = {n: t for n, t in run.artefact.items() if not n.startswith("prompt.")}
            stored |= {f"{key}/{name}": tensor.clone().contiguous() for name, tensor in output.items()}
        folder = paths.MODELS / self.scale / self.backbone / "quantized"
        atomic.write_bytes(folder / f"{self.compression}-{self.target}.safetensors", serialize(stored))
        results.write(results.path(self.cell), record)
