"""The panel of `notebooks/playground.ipynb`: choose network, compression and prompt, and watch it being learned."""

import time
from typing import Any

import ipywidgets as widgets
import pandas as pd
import torch
from IPython.display import display

from studies.backbones.obtain import obtain
from studies.figures import cell, tables
from studies.figures.pictures import of_mapping
from studies.playground.learning import CANVAS, RATES, Show, families, learn, make_dense, name_of, parameters
from studies.rows import png, row
from vpstudy.compression.family import Pruning
from vpstudy.compression.registry import FAMILIES
from vpstudy.data.registry import EMBEDDED
from vpstudy.prompts.visual.registry import PROMPTS
from vpstudy.runtime import configure
from vpstudy.training.data import TransferData
from vpstudy.training.settings import VisualPrompting
from vpstudy.training.visual_prompting import mapping_of

NETWORKS = {"small CNN, of characters": "cnn", "EfficientNet-Lite0, of ImageNet": "lite0"}
VALIDATION = 10  # pictures per class


class Playground:
    """The panel; `run` compares the chosen compression with the dense network."""

    def __init__(self):
        wide = {"style": {"description_width": "9em"}, "layout": {"width": "28em"}}
        self.network = widgets.Dropdown(options=NETWORKS, description="network", **wide)
        self.family = widgets.Dropdown(options=families(), value="magnitude", description="compression", **wide)
        self.sparsity = widgets.FloatSlider(0.8, min=0.1, max=0.95, step=0.05, description="sparsity", **wide)
        self.bits = widgets.IntSlider(4, min=2, max=8, description="bits", **wide)
        self.target = widgets.Dropdown(options=list(EMBEDDED), description="target", **wide)
        self.prompt = widgets.Dropdown(options=list(PROMPTS), description="prompt", **wide)
        self.budget = widgets.Dropdown(options=[1, 5, 10, "all"], value=10, description="pictures a class", **wide)
        self.steps = widgets.IntSlider(60, min=10, max=300, step=10, description="steps", **wide)
        self.seed = widgets.IntSlider(0, min=0, max=9, description="seed", **wide)
        self.button = widgets.Button(description="Run", button_style="primary", icon="play")
        self.bar = widgets.FloatProgress(max=1.0, layout={"width": "28em"})
        self.words = widgets.Label("Choose, then press Run.")
        grey = png(torch.full((3, 8, 8), 0.5))
        self.pictures = {name: widgets.Image(value=grey, width=160, height=160) for name in ("dense", "compressed")}
        self.facts, self.figures = widgets.HTML(), widgets.Output()
        self.family.observe(self._fit_sliders, "value")
        self._fit_sliders()
        self.button.on_click(lambda _: self.run())
        chosen = [self.network, self.family, self.sparsity, self.bits, self.target, self.prompt, self.budget]
        left = widgets.VBox([*chosen, self.steps, self.seed, self.button, self.bar, self.words])
        learned = [widgets.VBox([widgets.Label(f"prompt, {name}"), shown]) for name, shown in self.pictures.items()]
        self.panel = widgets.VBox([widgets.HBox([left, *learned]), self.facts, self.figures])

    def _fit_sliders(self, _: Any = None) -> None:
        self.sparsity.disabled = not issubclass(FAMILIES[self.family.value], Pruning)
        self.bits.disabled = self.family.value not in ("int", "w")

    def run(self) -> None:
        """Make what is missing, learn both prompts, and show facts, label mapping and reliability."""
        self.button.disabled, self.words.value = True, "starting"
        try:
            self._run()
        except ValueError as error:  # a compression that this network cannot have
            self.words.value = str(error)
        finally:
            self.button.disabled = False

    def _run(self) -> None:
        p, network = parameters(self.target.value), self.network.value
        settings = self.settings(p.hidden_cost.settings.visual_prompting)
        make_dense(p, network, self.show("dense"))
        data = TransferData(self.target.value, VALIDATION, configure(p.execution), p.pictures)
        chosen = name_of(self.family.value, self.sparsity.value, self.bits.value)
        facts, rows = {}, []
        for side, name in (("dense", "dense"), ("compressed", chosen)):
            self.words.value = f"compressing: {name}"
            compressed = obtain(p, network, name, checkpoint=0)
            outcome = learn(compressed, data, self.budget.value, self.seed.value, settings, self.show(side))
            if outcome.status != "ok":
                raise ValueError(f"{name}: {outcome.reason}")
            labels = data.target.labels[data.target.test].numpy()
            rows.append(row("visual_prompting", outcome.probabilities["test"], labels, budget="all"))
            metrics, size = rows[-1]["metrics"], compressed.facts()
            stored = {
                "zero weights": f"{size['zero_weights']:.1%}",
                "bits": size["bits"],
                "bytes": f"{size['bytes']:,}",
            }
            measured = {tables.METRICS[key]: f"{metrics[key]:.3f}" for key in ("accuracy", "ece_debiased")}
            facts[name] = stored | measured
        self.facts.value = tables.html(pd.DataFrame(facts).T.rename_axis("network").reset_index())
        mapping, evidence = mapping_of(outcome.artefact).tolist(), outcome.artefact["evidence"].tolist()
        pictures, first = data.pictures(settings.canvas).cpu(), data.target.labels.tolist().index
        examples = [pictures[first(k)] for k in range(len(mapping))]
        sources = of_mapping(compressed.backbone.class_names, mapping, evidence, settings.canvas)
        self.figures.clear_output(wait=True)
        with self.figures:
            display(cell.mapping_pairs(examples, data.class_names, *sources))
            for one in rows:
                display(cell.reliability([one]))
        self.words.value = f"done: {chosen} beside dense, on {self.target.value}"

    def settings(self, settings: VisualPrompting) -> VisualPrompting:
        """`settings` with the chosen prompt, in sizes that fit the network's canvas, and number of steps."""
        canvas = CANVAS[self.network.value]
        sizes = {
            "border": {"inner": canvas * 5 // 8},
            "frame": {"width": canvas // 16},
            "circle": {"width": canvas // 8},
        }
        prompts = settings.prompts | {name: PROMPTS[name](**values) for name, values in sizes.items()}
        change = {"canvas": canvas, "prompt": self.prompt.value, "prompts": prompts, "steps": self.steps.value}
        return settings.model_copy(update=change).at(RATES[self.network.value])

    def show(self, side: str) -> Show:
        """Put words, share done and a prompt on the panel, at most five times a second."""
        last = 0.0

        def shown(words: str, done: float, prompt: Any) -> None:
            nonlocal last
            if done < 1 and time.monotonic() - last < 0.2:
                return
            last, self.words.value, self.bar.value = time.monotonic(), words, done
            if prompt is not None:
                self.pictures[side].value = png(prompt.picture())

        return shown
