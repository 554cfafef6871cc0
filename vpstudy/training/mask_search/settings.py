"""Settings of the search for masks with prompts (VPNs, arXiv 2312.01397) and of the other ways to find masks."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from vpstudy.compression.settings import Sparsity
from vpstudy.settings import AXIS, Budget, Positive, Rate, Seed, Share, Strict, increasing, one_of, unique
from vpstudy.training.mask_search.methods import CONTROLS

ControlName = Annotated[str, one_of(CONTROLS, "control", "vpstudy/training/mask_search/methods.py")]
Ratio = Annotated[float, Field(gt=0, lt=1)]


class MaskSearch(Strict):
    sparsities: Annotated[list[Sparsity], Field(min_length=1), AfterValidator(increasing)]
    controls: Annotated[list[ControlName], AfterValidator(unique)]
    control_sparsities: Annotated[list[Sparsity], AfterValidator(increasing)]  # controls and ablations run at these
    channel_ratios: Annotated[list[Ratio], AfterValidator(increasing)]  # shares of channels that are removed
    seeds: Annotated[list[Seed], *AXIS]
    budget: Budget  # training pictures per class
    validation_per_class: Annotated[int, Field(ge=2)]
    canvas: Positive  # side of what the backbone sees, px
    inner: Positive  # side of the picture in the middle of it, around it black
    prompt: Literal["pad", "patch", "random_patch"]
    pad: Positive  # width of the frame, px
    patch: Positive  # side of a patch, px
    shift: Annotated[int, Field(ge=0)]  # px by which augmentation moves pictures
    batch: Positive
    steps: Annotated[int, Field(ge=4, multiple_of=4)]  # gradient steps of every method that makes one pass
    imp_rounds: Annotated[list[Sparsity], Field(min_length=1), AfterValidator(increasing)]
    scoring: Positive  # training pictures that SNIP and GraSP score with
    weight_rate: Rate  # SGD
    score_rate: Rate  # Adam: VPNs, and HYDRA as a control
    score_sgd_rate: Annotated[float, Field(gt=0)]  # SGD: HYDRA, BiP
    prompt_rate: Rate  # Adam
    channel_rate: Rate  # Adam: scores of channels
    slimming: Share  # weight of the L1 norm of BatchNorm's factors
    gamma: Annotated[float, Field(gt=0)]  # BiP's
    weight_decay: Share
    factors: Annotated[list[Annotated[float, Field(gt=0)]], *AXIS]  # of the rates; validation chooses for each sparsity

    @model_validator(mode="after")
    def _fit(self):
        problems = []
        if self.pad * 2 > self.canvas or self.patch > self.canvas:
            problems.append(
                f"pad ({self.pad}) must not exceed half of canvas ({self.canvas}), nor patch ({self.patch}) canvas"
            )
        if self.inner > self.canvas:
            problems.append(f"inner ({self.inner}) must not exceed canvas ({self.canvas})")
        problems += [
            f"control_sparsities: {sparsity} is not in sparsities ({self.sparsities})"
            for sparsity in self.control_sparsities
            if sparsity not in self.sparsities
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self
