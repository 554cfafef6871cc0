"""The command line: its words and their help. What they do stands in `commands`, loaded once one is given."""

import argparse
import sqlite3
import sys

PROGRAM = "vpstudy"


def main(words: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done; 1 it ran and found fault; 2 it could not run."""
    arguments = vars(parser().parse_args(words))
    from pipeline import commands

    try:
        return getattr(commands, arguments.pop("command"))(**arguments)
    except (ValueError, OSError, sqlite3.Error) as error:  # the last two: a full disk
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """What can be typed."""
    root = argparse.ArgumentParser(
        prog=PROGRAM,
        description="What does compressing a vision model cost when the model is then adapted by a prompt?",
        epilog=f"Start with: {PROGRAM} plan, then: {PROGRAM} repro",
    )
    commands = root.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)

    def add(name: str, what: str, more: str, example: str = "") -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            help=what,
            description=f"{what[0].upper()}{what[1:]}. {more}",
            epilog=f"example: {PROGRAM} {example or name}",
        )

    add("plan", "show the cells, what is out of date, and the minutes it takes", "Runs nothing.")

    repro = add(
        "repro",
        "run all that is out of date",
        "Checks params.yaml, restores a dvc.lock that was cut off, runs stages side by side as `dvc repro` does one "
        "by one, and compares the results with the committed ones. Stopped at any moment, it continues where it was.",
        "repro transfer@cnn-w4a4-digits",
    )
    repro.add_argument("targets", nargs="*", help="stages to run, with all they depend on; without any, all")
    repro.add_argument("-j", "--jobs", type=_positive, metavar="N", help="cores to use here, or jobs on a cluster")
    repro.add_argument(
        "--cluster",
        metavar="NAME",
        default="local",
        help="local (this machine), slurm (as Dask's jobqueue.yaml says), or a Dask scheduler: tcp://HOST:8786",
    )
    repro.add_argument("-f", "--force", action="store_true", help="run what is up to date, too")

    compare = add(
        "compare",
        "compare the results with the committed ones",
        "Tells first which verdicts agree. Exit code 0 if all results are there and means agree within 0.02, else 1.",
        "compare --against HEAD~1",
    )
    compare.add_argument("--against", metavar="REV", default="HEAD", help="a commit, branch or tag (HEAD)")
    compare.add_argument(
        "--save",
        metavar="WORDS",
        help="keep this run's verdicts in data/again/ for 99_claims to show beside the committed ones; WORDS say what "
        "was done otherwise, e.g. 'on another processor'",
    )

    scale = add(
        "scale",
        "put a size of the study into params.yaml, or list the sizes",
        "Results of all scales live side by side. Values edited by hand are never overwritten unasked.",
        "scale smoke",
    )
    scale.add_argument("name", nargs="?", help="one of the folders in scales/; without it, they are listed")
    scale.add_argument("--force", action="store_true", help="keep an edited file as params.edited.yaml")

    check = add(
        "check",
        "check params.yaml, and the pictures of fetched targets",
        "Tells all that is wrong at once: wrong values, pictures that are missing or damaged, classes with too few of "
        "them for a budget, a GPU that is not there.",
        "check --scale paper",
    )
    check.add_argument(
        "--scale", metavar="NAME", help="one of the folders in scales/, in place of params.yaml; pictures may be absent"
    )

    targets = add(
        "targets",
        "list the targets, or tell how to get the pictures of one",
        "For pictures of your own, put `pictures: {mine: {imagefolder: PATH}}` into params.yaml (PATH holds "
        "train/CLASS and test/CLASS, or CLASS alone, or is a .zip of that), `fetched: [mine]`, and mine into "
        "hidden_cost.axes.targets; then run repro.",
        "targets cars",
    )
    targets.add_argument("name", nargs="?", help="one of them; without it, they are listed")

    classify = add(
        "classify",
        "classify pictures by names of classes, with a learned prompt",
        "Takes files that the stages clip_source and prompt write, and prints the best class of each picture.",
        "classify FOLDER --model MODEL --prompt PROMPT --classes cat,dog",
    )
    classify.add_argument("folder", help="a folder or .zip of pictures")
    classify.add_argument(
        "--model", metavar="FILE", required=True, help="data/models/SCALE/BACKBONE/clip/0.safetensors"
    )
    classify.add_argument(
        "--prompt",
        metavar="FILE",
        required=True,
        help="data/models/SCALE/BACKBONE/prompts/TARGET-PROMPTER/0.safetensors, learned for this model",
    )
    classify.add_argument(
        "--classes", metavar="NAMES", required=True, help="at least two, with commas: 'cat,tabby cat'"
    )
    classify.add_argument("--arm", metavar="ARM/SEED", help="one of the prompts in the file; without it, the first")
    classify.add_argument("--csv", metavar="FILE", help="write the table there, too")

    run = add(
        "run",
        "run one cell (called by DVC)",
        "Writes the cell's results, but not dvc.lock: `repro` would run it once more.",
        "run transfer cnn imp-0.80 digits",
    )
    run.add_argument("stage", help="a stage of dvc.yaml")
    run.add_argument("values", nargs="*", help="the cell's place on the axes of the stage")

    add(
        "code",
        "list the modules behind each kind of stage, with digests (called by DVC)",
        "Cells depend on these lists: a comment, a docstring or a value tried in JupyterLab runs nothing again.",
    )
    return root


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: give a whole number from 1")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
