"""pyproject.toml, requirements.lock, environment.yml, CITATION.cff and Makefile agree with one another."""

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import nbformat
import pytest
import torch
import torchvision
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
RUNTIME = [Requirement(line) for line in PROJECT["dependencies"]]
DEVELOPMENT = [Requirement(line) for line in PROJECT["optional-dependencies"]["dev"]]
REAL = [Requirement(line) for line in PROJECT["optional-dependencies"]["real"]]  # files, never imported
SITE = [Requirement(line) for line in PROJECT["optional-dependencies"]["site"]]
BUILD = [Requirement(line) for line in PYPROJECT["build-system"]["requires"]]
LOCK_LINES = (ROOT / "requirements.lock").read_text().splitlines()
SITE_LINES = (ROOT / "requirements-site.lock").read_text().splitlines()

# Never imported by our own code: started as programs, or imported by pandas when it writes Markdown (tabulate).
NOT_IMPORTED = {
    *("dask", "dask-jobqueue", "distributed", "editables", "hatchling", "import-linter", "ipykernel", "ipywidgets"),
    *("jupyterlab", "pytest", "pytest-xdist", "ruamel-yaml-clib", "ruff", "setuptools", "sybil", "tabulate", "uv"),
}


def name_of(requirement: Requirement) -> str:
    return canonicalize_name(requirement.name)


def locked(lines: list[str] = LOCK_LINES) -> dict[str, str]:
    """Package name -> pinned version, for the Python and the machine that run this test."""
    pins = [Requirement(line) for line in lines]
    here = [pin for pin in pins if pin.marker is None or pin.marker.evaluate()]
    assert len({name_of(pin) for pin in here}) == len(here), "a package is pinned twice for this machine"
    return {name_of(pin): next(iter(pin.specifier)).version for pin in here}


@cache
def project_files() -> list[Path]:
    """What git tracks, and what it would track after `git add .`."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return sorted(ROOT / name for name in set(listing.split("\0")) if name and (ROOT / name).is_file())


def test_every_lock_line_is_one_exact_pin() -> None:
    # An index address, an option, a path or a range would all fail here.
    pin = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*==[0-9][0-9a-z.]*( ; [^#:]+)?")
    assert len(LOCK_LINES) > 100
    assert [line for line in LOCK_LINES + SITE_LINES if not pin.fullmatch(line)] == []


@pytest.mark.parametrize("requirement", RUNTIME + DEVELOPMENT + REAL + BUILD, ids=str)
def test_lock_pins_what_pyproject_asks_for(requirement: Requirement) -> None:
    pins = locked()
    assert name_of(requirement) in pins, f"{requirement} is missing from requirements.lock: run `make lock`"
    assert requirement.specifier.contains(pins[name_of(requirement)]), "run `make lock`"


def test_the_lock_of_the_site_adds_to_the_other_one() -> None:
    base, site = locked(), locked(SITE_LINES)
    assert [name for name in base.keys() & site.keys() if base[name] != site[name]] == []
    assert [str(each) for each in SITE if not each.specifier.contains(site[name_of(each)])] == [], "run `make lock`"


def test_this_environment_is_the_locked_one() -> None:
    differing = {}
    for name, version in locked().items():
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            installed = "nothing"
        # A specifier, so that a local build such as +cpu counts as the version it is a build of.
        if installed == "nothing" or not SpecifierSet(f"=={version}").contains(installed):
            differing[name] = f"{installed} installed, {version} locked"
    assert differing == {}, "run `make test`, which brings .venv up to requirements.lock"


def test_torch_and_torchvision_are_a_pair() -> None:
    (asked,) = [
        requirement
        for requirement in map(Requirement, importlib.metadata.requires("torchvision"))
        if name_of(requirement) == "torch"
    ]
    assert asked.specifier.contains(locked()["torch"])
    # The metadata allows builds that do not load; an operator of torchvision's own shows that this one does.
    boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 1.9], [5.0, 5.0, 6.0, 6.0]])
    kept = torchvision.ops.nms(boxes, scores=torch.tensor([0.9, 0.8, 0.7]), iou_threshold=0.5)
    assert kept.tolist() == [0, 2]


def test_conda_environment_installs_the_same_pins() -> None:
    environment = YAML(typ="safe").load((ROOT / "environment.yml").read_text())
    assert environment["name"] == PROJECT["name"]
    *packages, pip = environment["dependencies"]
    assert pip == {"pip": ["-r requirements.lock", "-e ."]}
    (python,) = [package for package in packages if package.startswith("python=")]
    version = python.removeprefix("python=")
    assert SpecifierSet(PROJECT["requires-python"]).contains(f"{version}.0")
    assert {package for package in packages if package != python} == {"git", "pip"}


def imported_packages() -> set[str]:
    """Top-level modules that our modules, tests and notebooks import."""
    found = set()
    for path in project_files():
        if path.suffix == ".py" and path.parent.name != "docs":  # whose packages `make site` installs
            sources = [path.read_text()]
        elif path.suffix == ".ipynb" and "rendered" not in path.parts:
            cells = nbformat.read(path, as_version=4).cells
            sources = [cell.source for cell in cells if cell.cell_type == "code"]
        else:
            continue
        for node in (node for source in sources for node in ast.walk(ast.parse(source))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found.add(node.module.split(".")[0])
    # The tests import each other's helpers by their bare names.
    ours = {"pipeline", "studies", "vpstudy", "benchmarks"} | {path.stem for path in (ROOT / "tests").rglob("*.py")}
    # Tests in a browser use what `make site` installs, where it is there.
    return found - set(sys.stdlib_module_names) - ours - {name_of(each) for each in SITE}


def test_declared_dependencies_are_those_in_use() -> None:
    distributions = importlib.metadata.packages_distributions()
    used = {module: {canonicalize_name(name) for name in distributions[module]} for module in imported_packages()}
    declared = {name_of(requirement) for requirement in RUNTIME + DEVELOPMENT}
    assert {module for module, names in used.items() if not names & declared} == set(), "imported, not declared"
    assert declared - NOT_IMPORTED - set.union(*used.values()) == set(), "declared, not imported"


def test_the_command_that_pyproject_names_can_be_called() -> None:
    (target,) = PROJECT["scripts"].values()
    assert callable(importlib.metadata.EntryPoint("vpstudy", target, "console_scripts").load())


def test_importing_works_from_the_parent_of_a_clone(tmp_path: Path) -> None:
    (tmp_path / "vpstudy").mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    code = "import vpstudy.paths, studies.grid, pipeline.cli"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)


def test_no_file_names_a_package_index_or_a_folder_of_one_machine() -> None:
    # Put together from parts, so that this file does not find itself.
    hosts = [
        ("pypi", "org"),
        ("files.pythonhosted", "org"),
        ("download.pytorch", "org"),
        ("registry.npmjs", "org"),
    ]
    hosts += [("repo.anaconda", "com"), ("conda.anaconda", "org"), ("deb.debian", "org")]
    forbidden = re.compile(
        "|".join(re.escape(".".join(host)) for host in hosts)
        + r"|(?<![\w.~/-])/(?:home|root|Users|work)/(?=\w)"
        + r"|\b[A-Z]:\\Users\b"
    )
    assert forbidden.search("cd " + "/".join(["", "home", "someone"])), "the pattern finds nothing at all"
    found = []
    for path in project_files():
        content = path.read_bytes()
        if b"\0" not in content:  # git's own rule for text
            for number, line in enumerate(content.decode().splitlines(), start=1):
                found += [f"{path.relative_to(ROOT)}:{number}: {match[0]}" for match in forbidden.finditer(line)]
    assert found == []


def test_citation_names_the_three_papers() -> None:
    citation = YAML(typ="safe").load((ROOT / "CITATION.cff").read_text())
    assert citation["license"] == PROJECT["license"] == "MIT"
    assert "MIT License" in (ROOT / "LICENSE").read_text()
    papers = {identifier["value"]: paper for paper in citation["references"] for identifier in paper["identifiers"]}
    assert set(papers) == {"arXiv:2308.14969", "arXiv:2312.01397", "arXiv:2407.10704"}
    for number, paper in papers.items():
        assert paper["title"]
        assert len(paper["authors"]) >= 5
        assert paper["url"].endswith(number.removeprefix("arXiv:"))


@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("repro", "vpstudy repro"),
        ("plan", "vpstudy plan"),
        ("lab", "python -m jupyterlab"),
        ("site", "python -m sphinx"),
        ("test", "python -m pytest"),
        ("test-cluster", "python -m pytest tests/cluster"),
        ("lock", "python -m uv pip compile"),
    ],
)
def test_make_targets_set_up_and_then_run(target: str, command: str) -> None:
    # Without the variables by which a surrounding make would speak to this one.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    listing = subprocess.run(
        ["make", "--dry-run", target], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout
    (set_up,) = [line for line in listing.splitlines() if "SETUP" in line]
    assert listing.index(set_up) < listing.index(f".venv/bin/{command}")
    assert f".venv/bin/{command}" in listing
    assert (
        f"make {target} "
        in subprocess.run(["make"], cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    )


def test_ci_does_what_a_reader_types() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    commands = [line for line in script.read_text().splitlines() if line and not line.startswith("#")]
    assert commands[0] == "set -euo pipefail"
    assert commands[-1] == "make test"
