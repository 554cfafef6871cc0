"""Files that earlier stages make of a backbone: where they lie, or one message that says how to make them."""

from pathlib import Path

from studies.parameters import Parameters
from vpstudy import paths


def path(parameters: Parameters, backbone: str, name: str) -> Path:
    """`data/models/<scale>/<backbone>/<name>`; a name is that of a folder, then a file for each source checkpoint.

    Raises ValueError where no stage makes it at these parameters, FileNotFoundError with the command that makes it
    where it is not made yet.
    """
    place = paths.MODELS / parameters.scale / backbone / name
    if place.exists():
        return place
    if name.startswith("clip/"):
        stage, key, known = "clip_source", "clips", parameters.clips
    elif backbone in parameters.weights and not name.startswith("imp/"):
        stage, key, known = "weights", "outside", parameters.outside
    else:
        stage, key, known = "imp" if name.startswith("imp/") else "source", "pretrained", parameters.pretrained
    what, command = f"{backbone}/{name}", f"`vpstudy repro {stage}@{backbone}`"
    if backbone not in known:
        raise ValueError(
            f"{what} is made for the backbones in {key} of params.yaml alone ({', '.join(known) or 'none'}): "
            f"choose one of these, or put {backbone} there, then {command}"
        )
    if not any((paths.MODELS / parameters.scale).glob("*/source/*")):
        raise FileNotFoundError(
            f"nothing has been trained yet at scale {parameters.scale}: run `make repro`, which makes everything "
            f"(about 25 minutes at scale default), or {command}, which makes {what} and what that needs"
        )
    raise FileNotFoundError(f"{what} is not made yet at scale {parameters.scale}: run {command}")
