"""What the commands do. Each returns its exit code, or raises a ValueError for the reader to see."""

import sys
from collections import Counter

from pipeline import committed, estimates, lock, overview, parallel, scales, session, warm
from pipeline import compare as comparison
from pipeline import stage as stages
from pipeline.notebook import NotebookError
from studies import grid
from studies import parameters as study
from vpstudy import paths
from vpstudy.data.origin import Origins, origin_of
from vpstudy.data.registry import EMBEDDED, KNOWN
from vpstudy.settings import read


def check(scale: str | None = None) -> int:
    parameters = scales.parameters(scale) if scale else study.load(paths.PARAMS)
    if parameters.outside:
        from studies.backbones import weights_checks  # loads torch

        weights_checks.check(parameters)
    stages = Counter(cell.stage for cell in grid.cells(parameters))
    counts = ", ".join(f"{number} {name}" for name, number in stages.items())
    file = f"scales/{scale}/params.yaml" if scale else "params.yaml"
    print(f"{file} is valid: scale {parameters.scale}, {stages.total()} cells ({counts})")
    return 0


def plan(scale: str | None = None) -> int:
    if scale:
        parameters = scales.parameters(scale)
        print(f"Scale {scale}: {len(grid.cells(parameters))} cells")
    else:
        parameters = study.load(paths.PARAMS)
        print("\n".join(overview.table(parameters)))
    return 0


def repro(targets: list[str]) -> int:
    parameters = study.load(paths.PARAMS)
    if repaired := lock.repair(paths.ROOT):
        print(repaired)
    session.wait_for_killed(paths.ROOT)
    _make_folders(parameters)
    if not targets:
        print(overview.summary(parameters), flush=True)
    runner = parallel.Runner(
        targets,
        estimates.seconds(parameters.scale),
        weight=lambda kind: grid.threads(kind, parameters),
        cores=parallel.cores(),
        timings=paths.TIMINGS / parameters.scale,
        kernels=lambda: warm.kernels(parameters.execution.cell_threads),
    )
    code = runner.run()
    print()
    if code:
        print(
            f"a stage ended with exit code {code}. `vpstudy repro` continues where it stopped; "
            "`vpstudy compare` tells what has changed so far."
        )
        return code
    scales.save_lock(parameters.scale)
    try:
        print("\n".join(comparison.report().lines))
    except ValueError as error:
        print(f"not compared: {error}")
    _print_unsaved()
    return 0


def compare(against: str) -> int:
    report = comparison.report(against)
    print("\n".join(report.lines))
    _print_unsaved()
    return 0 if report.agrees else 1


def _print_unsaved() -> None:
    try:
        unsaved = committed.unsaved()
    except ValueError:  # no repository, no HEAD: there is nothing that the files could differ from
        return
    if unsaved:
        print("", *unsaved, sep="\n")


def scale(name: str | None, force: bool) -> int:
    if name:
        print("\n".join(scales.put_in_place(name, force)))
        _make_folders(study.validate(read(paths.PARAMS), paths.PARAMS.name))
        return 0
    current = read(paths.PARAMS).get("scale") if paths.PARAMS.exists() else None
    width = max(map(len, scales.presets()))
    for preset, purpose in scales.presets().items():
        print(f"{'*' if preset == current else ' '} {preset:<{width}}  {purpose}")
    print("\n* stands in params.yaml now; `vpstudy scale NAME` puts another there")
    return 0


def _make_folders(parameters: study.Parameters) -> None:
    """What final stages depend on for studies that have no cells at a scale, kept in git by an empty file."""
    full = {cell.study for cell in grid.cells(parameters) if cell.axes}
    for name in {stage.study for kind, stage in grid.STAGES.items() if not grid.is_final(kind)} - full:
        folder = paths.RESULTS / parameters.scale / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".gitkeep").touch()


def targets(name: str | None) -> int:
    pictures = study.validate(read(paths.PARAMS), paths.PARAMS.name).pictures
    names = [name] if name else list(dict.fromkeys([*EMBEDDED, *KNOWN, *pictures]))
    for alias in names:
        print(f"  {alias:<{max(map(len, names))}}  {_where(alias, pictures)}")
    if name in EMBEDDED:
        return 0
    if name:
        origin = origin_of(name, pictures)
        print(f"\n{origin.advice(name) if origin.imagefolder else 'the stage pictures downloads it to data/raw'}")
    else:
        print("\nWhat is not embedded goes into fetched; `targets NAME` tells how to get it, `targets --help` more")
    return 0


def _where(alias: str, pictures: Origins) -> str:
    """The title of a target, and where its pictures come from."""
    if alias in EMBEDDED:
        return "embedded"
    origin = origin_of(alias, pictures)
    missing = origin.missing(alias).partition(";")[0]
    where = f"torchvision {origin.torchvision}" if origin.torchvision else missing or origin.imagefolder
    return f"{KNOWN[alias].title if alias in KNOWN else 'your own'} ({where})"


def repair() -> int:
    print(lock.repair(paths.ROOT) or "nothing to repair in dvc.lock")
    return 0


def run(stage: str, values: list[str]) -> int:
    try:
        stages.run(stage, *values)
    except NotebookError as error:
        print(f"{' '.join([stage, *values])}: {error}", file=sys.stderr)
        return 1
    return 0


def code() -> int:
    lists = stages.code_lists()
    print(f"{len(lists)} lists of modules written to {paths.CODE.relative_to(paths.ROOT)}")
    return 0
