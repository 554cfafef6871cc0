"""Parameters of the vpns study (arXiv 2312.01397): masks found with prompts, against other ways to find them."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from studies.axes import BackboneName
from vpstudy.compression.settings import Sparsity
from vpstudy.data.targets import NAMES as TARGETS
from vpstudy.settings import AXIS, Budget, Positive, Rate, Seed, Share, Strict, increasing, one_of, unique
from vpstudy.training.mask_search.methods import CONTROLS, METHODS

PrunerName = Annotated[str, one_of(METHODS, "pruner", "vpstudy/training/mask_search/methods.py")]
ControlName = Annotated[str, one_of(CONTROLS, "control", "vpstudy/training/mask_search/methods.py")]
TargetName = Annotated[str, one_of(TARGETS, "target", "vpstudy/data/targets.py")]
Ratio = Annotated[float, Field(gt=0, lt=1)]


class Vpns(Strict):
    backbones: Annotated[list[BackboneName], *AXIS]
    targets: Annotated[list[TargetName], *AXIS]
    pruners: Annotated[list[PrunerName], *AXIS]
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
        if "dense" not in self.pruners:
            problems.append("pruners: 'dense' is missing, and pruned networks are measured against it")
        problems += [
            f"control_sparsities: {sparsity} is not in sparsities ({self.sparsities})"
            for sparsity in self.control_sparsities
            if sparsity not in self.sparsities
        ]
        problems += [
            f"imp_rounds: {sparsity}, which is in sparsities, is missing"
            for sparsity in self.sparsities
            if "imp" in self.pruners and sparsity not in self.imp_rounds
        ]
        for name in self.pruners:
            for key, value in METHODS[name].change.items():
                if key in ("pad", "inner") and value * (2 if key == "pad" else 1) > self.canvas:
                    problems.append(f"pruners: {name} needs a larger canvas than {self.canvas}")
        if any(METHODS[name].role == "ablation" for name in self.pruners) and not self.control_sparsities:
            problems.append("control_sparsities: pruners that are ablations need at least one")
        if any(METHODS[name].role == "channels" for name in self.pruners) and not self.channel_ratios:
            problems.append("channel_ratios: pruners that prune channels need at least one")
        if problems:
            raise ValueError("; ".join(problems))
        return self
