"""What the commands do. Each returns its exit code, or raises a ValueError for the reader to see."""

import sys
from pathlib import Path

from pipeline import alone, cell_job, locks, scales
from pipeline import plan as planning
from studies import grid
from studies import parameters as study
from studies.parameters import read
from vpstudy import paths
from vpstudy.data.origin import Origins, origin_of
from vpstudy.data.registry import EMBEDDED, KNOWN


def check(scale: str | None = None) -> int:
    parameters = scales.parameters(scale) if scale else study.load(paths.PARAMS, to_run=True)
    file = f"scales/{scale}/params.yaml" if scale else "params.yaml"
    _look_inside(parameters, file, this_machine=not scale)
    print(f"{file} is valid: scale {parameters.scale}, {planning.size(parameters)}")
    return 0


def plan() -> int:
    alone.check(paths.ROOT)
    parameters = study.load(paths.PARAMS)
    if parameters.fetched:
        _look_inside(parameters, this_machine=False)
    from pipeline.timings import cores

    stages, estimate = _prepared(parameters)
    with stages.alone():
        stages.bring_back(stages.by_name)
        lines = planning.plan(stages, estimate, cores())
    print(f"Scale {parameters.scale}: {planning.size(parameters)}", *lines, sep="\n")
    return 0


def repro(targets: list[str], jobs: int | None, cluster: str, force: bool) -> int:
    alone.check(paths.ROOT)
    parameters = study.load(paths.PARAMS, to_run=True)
    stages, estimate = _prepared(parameters)
    with stages.alone():
        wanted = stages.wanted(targets)
        stages.bring_back(wanted)
        due = list(wanted) if force else list(stages.out_of_date(wanted))
        if "code" in due:  # the lists are written already
            due.remove("code")
            stages.record(["code"])
        code = 0
        if due:
            _look_inside(parameters, this_machine=cluster == "local")
            code = _run(parameters, stages, estimate, due, jobs, cluster, force)
        locks.keep()
    if not code:
        from pipeline import compare as comparison

        print(*comparison.after_a_run(), sep="\n")
    return code


def _look_inside(parameters: study.Parameters, file: str = "params.yaml", this_machine: bool = True) -> None:
    """Check backbones and pictures, which loads torch, and print what is left out of the pictures."""
    from studies.backbones import picture_contents, weights_checks

    for note in picture_contents.check(parameters, file, this_machine):
        print(note)
    weights_checks.check(parameters, this_machine)


def _prepared(parameters: study.Parameters) -> tuple:
    """DVC's view of the stages, and what is known of their times; a cut dvc.lock is restored first."""
    from pipeline.stages import Stages
    from pipeline.timings import Estimate

    if repaired := locks.settle(parameters.scale):
        print(repaired)
    scales.make_folders(parameters)
    cell_job.write_code_lists()
    stages = Stages(paths.ROOT)
    folder = paths.TIMINGS / parameters.scale
    return stages, Estimate(stages, folder, lambda name: grid.threads(name.split("@")[0], parameters))


def _run(parameters, stages, estimate, due, jobs, cluster, force) -> int:
    from pipeline import workers
    from pipeline.runner import Runner
    from pipeline.timings import cores

    of = {cell.name: cell for cell in grid.cells(parameters)}

    def task(name: str) -> tuple:
        removed = tuple(paths.ROOT / out.def_path for out in stages.by_name[name].outs if not out.persist)
        return workers.run, cell_job.job(of[name], parameters, removed), parameters.execution.cell_threads

    with workers.connect(cluster, jobs, cores()) as (client, per_worker):
        runner = Runner(stages, client, task, estimate, due, per_worker, cell_job.write_code_lists, force)
        finished = runner.run()
    if not finished:
        print("interrupted: `vpstudy repro` continues where it stopped", file=sys.stderr)
        return 130
    if runner.failed:
        print(f"{len(runner.failed)} failed: {', '.join(runner.failed)}. `vpstudy repro` continues", file=sys.stderr)
    return 1 if runner.failed else 0


def compare(against: str, save: str | None = None) -> int:
    from pipeline import compare as comparison

    report = comparison.report(against)
    if save is not None:
        comparison.save(report, save)
    print(*report.lines, *comparison.unsaved(), sep="\n")
    return 0 if report.agrees else 1


def scale(name: str | None, force: bool) -> int:
    if name:
        alone.check(paths.ROOT)
        print("\n".join(scales.put_in_place(name, force)))
        scales.make_folders(study.load(paths.PARAMS))
        return 0
    current = read(paths.PARAMS).get("scale") if paths.PARAMS.exists() else None
    width = max(map(len, scales.presets()))
    for preset, purpose in scales.presets().items():
        print(f"{'*' if preset == current else ' '} {preset:<{width}}  {purpose}")
    print("\n* stands in params.yaml now; `vpstudy scale NAME` puts another there")
    return 0


def targets(name: str | None) -> int:
    pictures = study.load(paths.PARAMS).pictures
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


def classify(folder: str, model: str, prompt: str, classes: str, arm: str | None, csv: str | None) -> int:
    import pandas as pd

    from vpstudy import atomic
    from vpstudy.training.prompt_learning.classify import Classifier

    classifier = Classifier(model, prompt, classes.split(","), arm)
    table = pd.DataFrame(classifier.folder(folder)).rename(columns={"class_name": "class"})
    print(f"prompt {classifier.arm} of {prompt}", table.to_string(index=False, float_format="{:.3f}".format), sep="\n")
    if csv:
        atomic.write_text(Path(csv), table.to_csv(index=False))
    return 0


def run(stage: str, values: list[str]) -> int:
    from pipeline import kernel_process, notebook

    kernel_process.die_with_parent()  # the `dvc repro` above
    parameters = study.load(paths.PARAMS)
    cell = cell_job.asked_for(parameters, stage, *values)
    locks.keep()  # whole now, and a kill may cut it later
    try:
        notebook.run(cell_job.job(cell, parameters))
    except notebook.NotebookError as error:
        print(f"{' '.join([stage, *values])}: {error}", file=sys.stderr)
        return 1
    return 0


def code() -> int:
    lists = cell_job.write_code_lists()
    print(f"{len(lists)} lists of modules written to {paths.CODE.relative_to(paths.ROOT)}")
    return 0
