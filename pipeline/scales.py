"""The sizes that the study comes in: presets that state only how they differ from `scales/default/params.yaml`."""

import io
import itertools
import re
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from pipeline import locks
from studies import grid
from studies.parameters import Parameters, read, validate
from vpstudy import atomic, paths
from vpstudy.settings import ParameterError

BASE = "default"


def presets() -> dict[str, str]:
    """Every preset and what it is for (the first line of its file), the default first."""
    files = sorted(paths.SCALES.glob("*/params.yaml"), key=lambda path: (path.parent.name != BASE, path.parent.name))
    return {path.parent.name: path.read_text().partition("\n")[0].lstrip("# ") for path in files}


def compose(name: str) -> str:
    """The text of `params.yaml` at scale `name`: the default's, comments too, with the preset's values in it.

    Raises ParameterError if there is no such preset, or if it holds an unknown key or a bad value.
    """
    if name not in presets():
        allowed = ", ".join(presets())
        raise ParameterError(f"scale {name!r}: no such preset; allowed: {allowed} (the folders in scales/)")
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096  # never wrap a line
    yaml.default_flow_style = None  # a new list or mapping on one line
    content = yaml.load((paths.SCALES / BASE / "params.yaml").read_text())
    if name != BASE:
        _merge(content, read(paths.SCALES / name / "params.yaml"))
    content["scale"] = name
    text = io.StringIO()
    yaml.dump(content, text)
    validate(_plain(text.getvalue()), f"scales/{name}/params.yaml")
    lines = text.getvalue().splitlines(keepends=True)
    lines[0] = f"# {presets()[name]}\n"
    # A comment keeps its old column when the value before it changes: set it two spaces from the value again.
    return "".join(re.sub(r"^([^#]*\S) +# ", r"\1  # ", line) for line in lines)


def parameters(name: str) -> Parameters:
    """Scale `name`, typed, whether or not this machine has what it needs. Raises ParameterError as `compose`."""
    return validate(_plain(compose(name)), f"scales/{name}/params.yaml")


def put_in_place(name: str, force: bool = False) -> list[str]:
    """Write scale `name` to `params.yaml`, put its lock in the place of dvc.lock, and say what was done.

    Raises ParameterError if `params.yaml` holds edits that would be lost; with `force`, these are kept in
    `params.edited.yaml`, or with the first free number.
    """
    text, edits, done = compose(name), hand_edits(), []
    if edits and not force:
        raise ParameterError(
            "params.yaml was edited by hand, nothing was changed; it differs from its scale in\n"
            + "\n".join(f"  - {edit}" for edit in edits)
            + "\nTo keep these as a scale of your own, put them into scales/NAME/params.yaml and `scale: NAME` into "
            + f"params.yaml; to set them aside, `vpstudy scale {name} --force`, which moves "
            + "params.yaml to params.edited.yaml"
        )
    if edits:
        names = itertools.chain(["params.edited.yaml"], (f"params.edited-{n}.yaml" for n in itertools.count(2)))
        kept = next(name for name in names if not paths.PARAMS.with_name(name).exists())
        atomic.write_bytes(paths.PARAMS.with_name(kept), paths.PARAMS.read_bytes())
        done = [f"params.yaml was edited by hand: kept as {kept}"]
    locks.settle(name)
    if not edits and paths.PARAMS.exists() and read(paths.PARAMS)["scale"] == name:
        return [f"params.yaml holds scale {name} already"]
    atomic.write_text(paths.PARAMS, text)
    return [*done, f"params.yaml now holds scale {name}"]


def make_folders(parameters: Parameters) -> None:
    """What final stages depend on for studies that have no cells at a scale, kept in git by an empty file."""
    full = {cell.study for cell in grid.cells(parameters) if cell.axes}
    for name in {stage.study for kind, stage in grid.STAGES.items() if not grid.is_final(kind)} - full:
        folder = paths.RESULTS / parameters.scale / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".gitkeep").touch()


def hand_edits() -> list[str]:
    """Where `params.yaml` differs from its own scale: `source.steps: 1300 (in scale default: 1200)`.

    Values are compared, comments are not. What cannot be compared counts as an edit.
    """
    if not paths.PARAMS.exists():
        return []
    try:
        given = read(paths.PARAMS)
        scale = str(given.get("scale"))
        preset = flat(_plain(compose(scale)))
    except ParameterError as error:
        return [str(error)]
    given = flat(given)
    return [
        f"{key}: {given.get(key, 'missing')} (in scale {scale}: {preset.get(key, 'missing')})"
        for key in preset | given
        if given.get(key, "missing") != preset.get(key, "missing")
    ]


def _merge(content: dict[str, Any], changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(content.get(key), dict):
            _merge(content[key], value)
        else:
            content[key] = _quoted(value)


def _quoted(value: Any) -> Any:
    """Texts with a colon in quotes: DVC's reader refuses `{location: pypi://…}` on one line without them."""
    if isinstance(value, dict):
        return {key: _quoted(each) for key, each in value.items()}
    return DoubleQuotedScalarString(value) if isinstance(value, str) and ":" in value else value


def _plain(text: str) -> dict[str, Any]:
    return YAML(typ="safe", pure=True).load(text)


def flat(content: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as dotted keys, and their values as they would stand in the file."""
    lines = {}
    for key, value in content.items():
        if isinstance(value, dict):
            lines |= flat(value, f"{prefix}{key}.")
        else:
            lines[f"{prefix}{key}"] = f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)
    return lines
