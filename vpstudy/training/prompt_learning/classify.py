"""Use a learned prompt: classify pictures by names of classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vpstudy.data import files
from vpstudy.data.decoding import decode
from vpstudy.models import clip as clips
from vpstudy.models import sentence_tower
from vpstudy.prompts import stored
from vpstudy.prompts.text import TextPrompt, described
from vpstudy.runtime import Runtime, configure
from vpstudy.settings import Execution
from vpstudy.training.prompt_learning import tasks
from vpstudy.training.prompt_learning.measuring import logits_of

BATCH = 256  # pictures decoded at once


@dataclass(frozen=True)
class Answer:
    """The best class of a picture."""

    picture: str  # path within the folder
    class_name: str
    probability: float


class Classifier:
    """A two-tower model with a learned prompt and names of K classes, in the words of a text ("tabby cat").

    `model` and `prompt` are files that the stages clip_source and prompt write. `arm` is one of the prompts in the
    file, ARM/SEED; without it, the first. Raises FileNotFoundError and ValueError for files of another kind, an unknown
    arm, a prompt of another width than the model's words, fewer than two classes, and classes that are the same words.
    """

    def __init__(self, model: Path | str, prompt: Path | str, class_names: Sequence[str], arm: str | None = None):
        names = [name.strip() for name in class_names]
        if len(names) < 2 or not all(names):
            raise ValueError(f"classes: {', '.join(names) or 'none'}: give at least two names, none of them empty")
        self.class_names, prompts = names, stored.read(Path(prompt))
        if not prompts:
            raise ValueError(f"{prompt}: its prompter learns no prompt; give the file of another, e.g. of coop")
        self.arm = next(iter(prompts)) if arm is None else arm
        if self.arm not in prompts:
            raise ValueError(f"arm {arm!r} is not in {prompt}; allowed: {', '.join(prompts)}")
        self._runtime = _runtime()
        self._clip, self._architecture = clips.load(Path(model))
        tower = sentence_tower.of(self._clip.to(self._runtime.device), self._runtime)
        context, self._network = prompts[self.arm].context.to(self._runtime.device), prompts[self.arm].network
        if context.shape[1] != tower.width:
            raise ValueError(
                f"{prompt}: its vectors are {context.shape[1]} wide, and the words of {model} {tower.width}: it was"
                " learned for another model; give that one"
            )
        self._written = described(tower, names, tasks.HAND_WRITTEN)
        self._prompt = TextPrompt(tower, names, context).eval().requires_grad_(False)
        if self._network:
            self._network.to(self._runtime.device)

    @property
    def size(self) -> int:
        """Side of a picture, px."""
        size = self._clip.visual.image_size
        return size if isinstance(size, int) else size[0]

    @torch.no_grad()
    def probabilities(self, pictures: Tensor) -> Tensor:
        """Probabilities (N, K) of uint8 pictures (N, 3, size, size)."""
        features = tasks.features(self._clip, self._architecture, pictures, self._runtime)
        scale = self._clip.logit_scale.exp().item()
        return logits_of(self._prompt, [features], self._written, scale, self._network)[0].softmax(1).cpu()

    def folder(self, folder: Path | str) -> list[Answer]:
        """The answer for each picture in a folder or .zip, sorted by path.

        Raises ValueError if there are none, or one is damaged.
        """
        if not Path(folder).exists():
            raise ValueError(f"{folder}: there is no such folder; give a folder or a .zip of pictures")
        found = files.find(Path(folder))
        names = sorted(name for name in found.sizes if not name.endswith("/"))
        if not names:
            raise ValueError(f"{folder}: it has no pictures{found.without}; give a folder or a .zip of .jpg, .png, …")
        answers = []
        for some in (names[k : k + BATCH] for k in range(0, len(names), BATCH)):
            pictures = torch.stack([self._decoded(folder, found, name) for name in some])
            best = self.probabilities(pictures).max(1)
            of = zip(some, best.indices.tolist(), best.values.tolist(), strict=True)
            answers += [Answer(name, self.class_names[k], probability) for name, k, probability in of]
        return answers

    def _decoded(self, folder: Path | str, found: files.Files, name: str) -> Tensor:
        try:
            with found.open(name) as image:
                return torch.from_numpy(decode(image, self.size).copy())
        except Exception as error:  # libraries raise many kinds for damaged files
            raise ValueError(f"{folder}: {name} is damaged, or no picture ({error}); replace or remove it") from None


def _runtime() -> Runtime:
    threads = torch.get_num_threads()
    return configure(Execution(device="auto", precision="fp32", threads=threads, cell_threads=threads))
