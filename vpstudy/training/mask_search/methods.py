"""Registry of pruning methods and their controls. Free of torch, for the validation of parameters.

A new method is a function in `finders/` and a line here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["dense", "baseline", "vpns", "control", "ablation", "channels"]
Prompted = Literal["never", "finding", "tuning", "both"]


@dataclass(frozen=True)
class Method:
    """A way to prune a backbone for a target."""

    label: str  # in figures and tables
    finder: str  # FILE.FUNCTION in `finders/`
    # "ablation" runs at `control_sparsities`, "channels" at `channel_ratios`, all others at every sparsity;
    # "control" is VPNs or HYDRA with one change
    role: Role = "baseline"
    two_pass: bool = False  # tune on alternating passes, as VPNs, instead of augmented ones
    prompted: Prompted = "never"  # stages that train a prompt: finding the mask, tuning the weights, or both
    change: Mapping[str, Any] = field(default_factory=dict)  # of the settings
    published: bool = False  # runs with the paper's number of steps, too: an argument of its finder

    @property
    def finding_prompt(self) -> bool:
        return self.prompted in ("finding", "both")

    @property
    def tuning_prompt(self) -> bool:
        return self.prompted in ("tuning", "both")

    @property
    def passes(self) -> Literal["augmented", "alternating"]:
        """The passes of tuning."""
        return "alternating" if self.two_pass else "augmented"


def _vpns(
    label: str,
    role: Role = "ablation",
    prompted: Prompted = "both",
    finder: str = "learned_masks.vpns",
    **change: Any,
) -> Method:
    return Method(label, finder, role, True, prompted, change)


METHODS = {
    "dense": Method("dense", "magnitudes.dense", "dense"),
    "random": Method("Random", "one_shot.random"),
    "omp": Method("OMP", "magnitudes.omp", published=True),
    "imp": Method("IMP", "magnitudes.imp", published=True),
    "snip": Method("SNIP", "one_shot.snip"),
    "grasp": Method("GraSP", "one_shot.grasp"),
    "synflow": Method("SynFlow", "one_shot.synflow"),
    "hydra": Method("HYDRA", "learned_masks.hydra"),
    "bip": Method("BiP", "learned_masks.bip"),
    "vpns": _vpns("VPNs", "vpns"),
    # Not in the paper: the same schedule without a prompt, and HYDRA with VPNs' optimizer.
    "vpns_no_prompt": _vpns("VPNs, no prompt", "control", "never"),
    "hydra_adam": Method("HYDRA, Adam", "learned_masks.hydra_adam", "control"),
    "vpns_mask_only": _vpns("prompt in finding only", prompted="finding"),
    "vpns_tuning_only": _vpns("prompt in tuning only", prompted="tuning"),
    "vpns_frame_4": _vpns("frame of 4 px", prompts={"frame": {"width": 4}}),
    "vpns_frame_7": _vpns("frame of 7 px", prompts={"frame": {"width": 7}}),
    "vpns_patch": _vpns("patch in a corner", prompt="patch"),
    "vpns_random_patch": _vpns("patch at random places", prompt="random_patch"),
    "vpns_input_18": _vpns("pictures of 18 px", inner=18),
    "vpns_input_24": _vpns("pictures of 24 px", inner=24),
    "depgraph": Method("DepGraph", "structured.depgraph", "channels"),
    "slimming": Method("Network Slimming", "structured.slimming", "channels"),
    "vpns_channels": _vpns("VPNs, channels", "channels", finder="structured.vpns_channels"),
    "vpns_channels_no_prompt": _vpns("VPNs, channels, no prompt", "channels", "never", "structured.vpns_channels"),
}


@dataclass(frozen=True)
class Control:
    """Another use of a method's mask: the function of the same name in `controls.py`."""

    label: str
    methods: tuple[str, ...]  # that it runs for


_BASELINES = tuple(name for name, method in METHODS.items() if method.role == "baseline")
_UNTRAINED = tuple(name for name in _BASELINES if name != "bip")  # BiP trains weights while it finds the mask

CONTROLS = {
    "untouched": Control("as pruned", _UNTRAINED),
    "bn": Control("BatchNorm anew", (*_UNTRAINED, "hydra_adam", "vpns", "vpns_no_prompt")),
    "two_pass": Control("two passes", ("dense", *_BASELINES)),
    "prompted": Control("two passes and a prompt", ("dense", *_BASELINES)),
    "prompt_only": Control("prompt, no tuning", _UNTRAINED),
    "prompt_after": Control("prompt after tuning", _BASELINES),
    "source_mask": Control("source mask", ("omp", "hydra", "bip", "hydra_adam", "vpns", "vpns_no_prompt")),
}
