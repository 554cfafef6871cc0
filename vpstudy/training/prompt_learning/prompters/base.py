"""What a text prompter is, and what an arm of it is and gives. Free of torch, for the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel

if TYPE_CHECKING:
    from torch import Tensor

    from vpstudy.prompts.codebook import Packed
    from vpstudy.prompts.quantized import Settings


@dataclass(frozen=True)
class Prompter:
    """A way to a text prompt.

    Attributes
    ----------
    label
        In figures and tables.
    arms
        From one seed of a cell (a `Trial`) to its arms, in a fixed order.
    settings
        Its own, with defaults: the key of its name in `qprompt.settings`.
    role
        "published" learns a prompt as in a paper, "reference" learns none, "control" is what the paper lacks.
    arm_labels
        By the name of an arm, or by what stands in it before "-"; {bits} or {level} is what stands behind.
    follow
        Describe the weights of its prompts at each evaluation.
    """

    label: str
    arms: Callable[[Any], Iterator[Arm]]
    settings: type[BaseModel] | None = None
    role: Literal["published", "reference", "control"] = "published"
    arm_labels: Mapping[str, str] = field(default_factory=dict)
    follow: bool = False


@dataclass(frozen=True)
class Variant:
    """How one arm is trained: as CoOp, but for what is set.

    Attributes
    ----------
    loss
        From a `Step` to its loss, in place of the cross-entropy.
    gradients
        From a `Step` and the trained tensors to a gradient each, in place of those of the loss.
    shifted
        A network shifts the context by the features of each picture.
    quantize
        Train through this quantizer (quantization-aware training).
    noise
        Standard deviation of Gaussian noise on the prompt, in units of its initial deviation.
    fixed
        The noise is drawn once and stays, in evaluation too; otherwise it is fresh at each step, and evaluation clean.
    stop_early
        Keep the epoch of the best accuracy on base validation.
    changes
        Of the settings that every prompter shares.
    """

    loss: Callable[[Any], Tensor] | None = None
    gradients: Callable[[Any, list[Tensor]], list[Tensor]] | None = None
    shifted: bool = False
    quantize: Settings | None = None
    noise: float = 0.0
    fixed: bool = False
    stop_early: bool = False
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Arm:
    """What one arm reached with one seed.

    Attributes
    ----------
    logits
        (N, K) of "base" and "new", as far as the arm has them.
    bits
        Of a value of the prompt as it is stored; None where it has no codebook.
    n_weights, published_weights
        Values that are stored, here and at the width of CLIP's own text tower; None where that width says nothing.
    used, start
        The context (M, width) as it is used, and as it was; None without one.
    learned
        What was seen while it learned (a `Learned`); None of an arm that does not.
    reason
        Why the training was given up, if it was.
    """

    name: str
    seed: int
    logits: dict[str, Tensor] = field(default_factory=dict)
    bits: int | None = None
    n_weights: int = 0
    published_weights: int | None = 0
    used: Tensor | None = None
    start: Tensor | None = None
    learned: Any = None
    packed: Packed | None = None
    reason: str | None = None

    @property
    def distance(self) -> float | None:
        """RMS distance of the used context to its start, in units of the start's deviation."""
        if self.used is None:
            return None
        return float((self.used - self.start).square().mean().sqrt() / self.start.std(correction=0))
