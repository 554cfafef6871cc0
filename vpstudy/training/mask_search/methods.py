"""Registry of pruning methods, and of the controls that run beside them. Free of torch, for the command line."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["dense", "baseline", "vpns", "control", "ablation", "channels"]


@dataclass(frozen=True)
class Method:
    """A way to prune a backbone for a target.

    Attributes
    ----------
    label
        In figures and tables.
    finder
        The function of `vpstudy/training/mask_search/finders.py` that finds the mask.
    role
        "dense", "baseline" and "vpns" run at every sparsity, and so does "control", which is VPNs or HYDRA changed in
        one thing; "ablation" at `vpns.control_sparsities`; "channels" at `vpns.channel_ratios`.
    change
        Settings that it changes, by key.
    two_pass
        Tuned on alternating passes, as VPNs are, in place of augmented ones.
    finding_prompt, tuning_prompt
        Whether a prompt learns while the mask is found, and while weights are tuned.
    """

    label: str
    finder: str
    role: Role
    change: Mapping[str, Any] = field(default_factory=dict)
    two_pass: bool = False
    finding_prompt: bool = False
    tuning_prompt: bool = False

    @property
    def prompted(self) -> bool:
        return self.finding_prompt or self.tuning_prompt


def _vpns(label: str, role: Role = "ablation", finder: str = "vpns", learned: str = "both", **change: Any) -> Method:
    return Method(label, finder, role, change, True, learned in ("both", "finding"), learned in ("both", "tuning"))


METHODS = {
    "dense": Method("dense", "dense", "dense"),
    "random": Method("Random", "random", "baseline"),
    "omp": Method("OMP", "omp", "baseline"),
    "imp": Method("IMP", "imp", "baseline"),
    "snip": Method("SNIP", "snip", "baseline"),
    "grasp": Method("GraSP", "grasp", "baseline"),
    "synflow": Method("SynFlow", "synflow", "baseline"),
    "hydra": Method("HYDRA", "hydra", "baseline"),
    "bip": Method("BiP", "bip", "baseline"),
    "vpns": _vpns("VPNs", "vpns"),
    # The controls that the paper lacks: the same schedule without a prompt, and HYDRA with VPNs' optimizer.
    "vpns_no_prompt": _vpns("VPNs, no prompt", "control", learned="none"),
    "hydra_adam": Method("HYDRA, Adam", "hydra_adam", "control"),
    "vpns_mask_only": _vpns("prompt in finding only", learned="finding"),
    "vpns_tuning_only": _vpns("prompt in tuning only", learned="tuning"),
    "vpns_frame_4": _vpns("frame of 4 px", prompts={"frame": {"width": 4}}),
    "vpns_frame_7": _vpns("frame of 7 px", prompts={"frame": {"width": 7}}),
    "vpns_patch": _vpns("patch in a corner", prompt="patch"),
    "vpns_random_patch": _vpns("patch at random places", prompt="random_patch"),
    "vpns_input_18": _vpns("pictures of 18 px", inner=18),
    "vpns_input_24": _vpns("pictures of 24 px", inner=24),
    "depgraph": Method("DepGraph", "depgraph", "channels"),
    "slimming": Method("Network Slimming", "slimming", "channels"),
    "vpns_channels": _vpns("VPNs, channels", "channels", "vpns_channels"),
    "vpns_channels_no_prompt": _vpns("VPNs, channels, no prompt", "channels", "vpns_channels", learned="none"),
}


@dataclass(frozen=True)
class Control:
    """What is done with a mask beside the method's own tuning.

    Attributes
    ----------
    methods
        Those that it runs for.
    """

    label: str
    methods: tuple[str, ...]


_BASELINES = tuple(name for name, method in METHODS.items() if method.role == "baseline")
_UNTRAINED = tuple(name for name in _BASELINES if name != "bip")  # whose weights come out of finding as they were

CONTROLS = {
    "untouched": Control("nothing trained after pruning", _UNTRAINED),
    "bn": Control("BatchNorm recalibrated, nothing trained", (*_UNTRAINED, "hydra_adam", "vpns", "vpns_no_prompt")),
    "two_pass": Control("tuned on two passes, no prompt", ("dense", *_BASELINES)),
    "prompted": Control("tuned on two passes, with a prompt", ("dense", *_BASELINES)),
    "prompt_only": Control("a prompt instead of tuning", _UNTRAINED),
    "prompt_after": Control("a prompt after tuning", _BASELINES),
    "source_mask": Control("mask found on the source", ("omp", "hydra", "bip", "hydra_adam", "vpns", "vpns_no_prompt")),
}
