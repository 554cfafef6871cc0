"""Records of text prompters, training variants and arms. Free of torch, for the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field

from vpstudy.settings import increasing

if TYPE_CHECKING:
    from torch import Tensor

    from vpstudy.prompts.codebook import Packed
    from vpstudy.prompts.quantized import Settings

AnyBits = Annotated[list[Annotated[int, Field(ge=1, le=8)]], AfterValidator(increasing)]
Bits = Annotated[AnyBits, Field(min_length=1)]


@dataclass(frozen=True)
class Prompter:
    """A method to make text prompts."""

    label: str  # in figures and tables
    arms: Callable[[Any], Iterator[Arm]]  # from a `Trial`, one seed, to its arms, in a fixed order
    settings: type[BaseModel] | None = None  # own settings with defaults, under its name in `qprompt.settings`
    # "published" learns a prompt as in a paper, "reference" learns none, "control" is missing in the paper
    role: Literal["published", "reference", "control"] = "published"
    # by the name of an arm or its part before "-"; {bits} or {level} is the part behind
    arm_labels: Mapping[str, str] = field(default_factory=dict)
    follow: bool = False  # describe the weights of its prompts at each evaluation


@dataclass(frozen=True)
class Noise:
    """Gaussian noise on a prompt in training."""

    deviation: float  # in units of the prompt's initial deviation
    seed: int = 0
    fixed: bool = False  # keep one draw, in evaluation too; else fresh noise each step, none in evaluation
    grows: bool = False  # in units of the deviation that the prompt has at each step


@dataclass(frozen=True)
class Variant:
    """How an arm is trained; by default as CoOp."""

    loss: Callable[[Any], Tensor] | None = None  # from a `Step`, in place of the cross-entropy
    # from a `Step` and the trained tensors to a gradient each, in place of those of the loss
    gradients: Callable[[Any, list[Tensor]], list[Tensor]] | None = None
    network: Literal["MetaNetwork", "ClassNetwork"] | None = None  # of vpstudy/prompts/text.py, shifts the context
    averaged: Sequence[float] = ()  # weights of the prompts after each epoch, whose mean is used; else the last one
    quantize: Settings | None = None  # train through this quantizer (quantization-aware training)
    noise: Noise | None = None
    middle: bool = False  # half of the context behind the class name
    class_specific: bool = False  # a context for each class, so that there is none for new ones
    stop_early: bool = False  # keep the epoch with the best accuracy on base validation
    changes: Mapping[str, Any] = field(default_factory=dict)  # of the settings that all prompters share


@dataclass
class Arm:
    """The result of one arm with one seed."""

    name: str
    seed: int
    logits: dict[str, Tensor] = field(default_factory=dict)  # (N, K) of "base" and "new", if the arm has them
    bits: int | None = None  # per stored value; None without a codebook
    n_weights: int = 0  # stored values
    published_weights: int | None = 0  # stored values at the width of CLIP's own text tower; None: does not apply
    used: Tensor | None = None  # context (M, width) as used; None without one
    start: Tensor | None = None  # context (M, width) before training
    learned: Any = None  # a `Learned`; None of an untrained arm
    packed: Packed | None = None
    reason: str | None = None  # why the training was given up

    @property
    def distance(self) -> float | None:
        """RMS distance of the used context from its start, in units of the start's deviation."""
        if self.used is None:
            return None
        return float((self.used - self.start).square().mean().sqrt() / self.start.std(correction=0))
