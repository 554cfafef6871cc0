"""How the packages lie above one another; that `pipeline` is above `studies` and `vpstudy`, import-linter holds."""

import subprocess
import sys

import grimp
import networkx
import pytest

from vpstudy import paths

STARTED = sorted(
    file.relative_to(paths.ROOT).with_suffix("").as_posix().replace("/", ".")
    for package in ("pipeline", "studies", "vpstudy", "benchmarks")
    for file in (paths.ROOT / package).rglob("*.py")
    if "__main__" in file.read_text()
)


def test_no_files_import_each_other_in_a_circle():
    graph = grimp.build_graph("pipeline", "studies", "vpstudy")
    imports = [(one, other) for one in graph.modules for other in graph.find_modules_directly_imported_by(one)]
    circles = networkx.strongly_connected_components(networkx.DiGraph(imports))
    assert [sorted(circle) for circle in circles if len(circle) > 1] == []


@pytest.mark.parametrize("module", STARTED)
def test_help_is_shown_and_nothing_starts(module):
    command = [sys.executable, "-m", module, "--help"]
    done = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True, check=True)
    assert "--help" in done.stdout and done.stderr == ""
