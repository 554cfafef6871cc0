"""Settings of prompt learning (arXiv 2407.10704) and of the small CLIP it uses."""

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, create_model, model_validator

from vpstudy.models.weights import Encoder
from vpstudy.settings import AXIS, Positive, Rate, Seed, Share, Strict
from vpstudy.training.prompt_learning.prompters.base import Bits
from vpstudy.training.prompt_learning.registry import PROMPTERS

if TYPE_CHECKING:
    from vpstudy.prompts.quantized import Settings as Quantizing

LONGEST = 60  # context vectors
# Every result of text prompts records the settings of these prompters. Those of a later one stand in its own results,
# and in others only where they are changed: a new prompter changes no result that is there.
EVERYWHERE = ("cocoop", "kgcoop", "prograd", "quantizers", "noise", "regularised")


def _context(value: Any) -> str | int:
    if isinstance(value, bool) or not (
        (isinstance(value, int) and value > 0) or (isinstance(value, str) and value.strip())
    ):
        raise ValueError("give words that context vectors start from, or how many to draw at random, at least 1")
    if (len(value.split()) if isinstance(value, str) else value) > LONGEST:
        raise ValueError(f"at most {LONGEST} vectors fit before the name of a class in CLIP's 77 tokens")
    return value


Context = Annotated[Any, AfterValidator(_context)]  # str | int; one validator explains both


class ClipSource(Strict):
    """Pretraining of a small CLIP on captioned glyphs."""

    steps: Positive
    batch: Positive
    learning_rate: Rate  # except for the image tower's trunk
    image_share: Share  # share of that rate for the trunk of the image tower
    weight_decay: Share
    width: Positive  # of the text tower
    heads: Positive
    layers: Positive
    embed: Positive  # width of the joint embedding
    held_out: Annotated[int, Field(ge=100)]


class LockedTuning(Encoder):
    """A text tower for a network from elsewhere: a sentence encoder and a linear map, which is trained alone."""

    size: Positive  # side of a picture, px
    pictures: str  # a target: on its pictures outside the test set the network is asked, on the others it is measured
    measured_on: list[str]  # targets, beside those that prompts are learned for
    held_out: Annotated[int, Field(ge=2)]  # classes of that target that are not trained on
    steps: Positive
    names: Annotated[int, Field(ge=2)]  # per step
    pictures_per_step: Annotated[int, Field(ge=0)]  # 0: none is learned from
    learning_rate: Rate  # AdamW
    seed: Seed


class Learning(Strict):
    """Shared by all prompts: SGD with momentum 0.9, one epoch of warm-up, then a cosine."""

    seeds: Annotated[list[Seed], *AXIS]
    context: Context
    epochs: Positive
    batch: Positive
    learning_rate: Rate
    weight_decay: Share
    evaluations: Positive  # evenly spaced epochs at which base and new are measured, at most all
    bits: Bits

    @model_validator(mode="after")
    def _evaluations_fit(self):
        if self.evaluations > self.epochs:
            raise ValueError(f"evaluations ({self.evaluations}) must not exceed epochs ({self.epochs})")
        return self


class _TextLearning(Learning):
    shots: Positive  # training pictures per base class
    validation_per_class: Annotated[int, Field(ge=2)]
    interval: Positive  # steps before adaptive clustering compares again
    threshold: Annotated[float, Field(ge=0)]  # KL divergence, in nats, above which it refits

    def quantizer(self, bits: int, **changes: Any) -> "Quantizing":
        """The published quantizer, with `changes`."""
        from vpstudy.prompts.quantized import Settings

        return Settings(bits, **{"interval": self.interval, "threshold": self.threshold} | changes)


def _own(name: str, settings: type[BaseModel]) -> tuple[type[BaseModel], Any]:
    """Type and default of a prompter's own settings."""
    default = settings()
    return settings, default if name in EVERYWHERE else Field(default, exclude_if=lambda given: given == default)


# Text prompts: each prompter's own settings are under its name, with defaults.
PromptLearning = create_model(
    "PromptLearning",
    __base__=_TextLearning,
    **{name: _own(name, prompter.settings) for name, prompter in PROMPTERS.items() if prompter.settings},
)


class MultimodalLearning(Learning):
    """Prompts for both towers. Pictures, validation and quantizer are those of text prompts."""

    depth: Positive  # blocks of both towers that prompts enter
