"""The playground, driven as a reader would, with a network that was hardly trained."""

import nbformat
import pytest
from nbclient import NotebookClient

from studies.playground import learning
from studies.playground.panel import Playground
from vpstudy import paths
from vpstudy.compression.registry import parse


@pytest.fixture
def playground(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "MODELS", tmp_path)
    monkeypatch.setattr(learning, "STEPS", 4)
    learning.parameters.cache_clear()
    made = Playground()
    made.steps.value = 10
    yield made
    learning.parameters.cache_clear()


def test_every_family_on_the_list_can_be_named():
    names = [learning.name_of(family, sparsity, 3) for family in learning.families() for sparsity in (0.1, 0.95)]
    assert [parse(name).name for name in names] == names and len(set(names)) > 8


def test_moving_the_sparsity_changes_the_numbers(playground):
    playground.run()
    assert playground.words.value == "done: magnitude-0.80 beside dense, on digits"
    first, prompts = playground.facts.value, [bytes(shown.value) for shown in playground.pictures.values()]
    assert "80.0%" in first and all(prompt.startswith(b"\x89PNG") for prompt in prompts) and prompts[0] != prompts[1]
    playground.sparsity.value = 0.5
    playground.run()
    assert "50.0%" in playground.facts.value and "80.0%" not in playground.facts.value


def test_sliders_that_do_not_apply_are_grey(playground):
    playground.sparsity.value, playground.prompt.value = 0.95, "circle"
    playground.family.value = "int"
    assert playground.sparsity.disabled and not playground.bits.disabled
    playground.bits.value, playground.target.value = 2, "faces"
    playground.run()
    assert playground.words.value == "done: int2 beside dense, on faces"


@pytest.mark.slow
def test_the_notebook_runs_with_the_packaged_network(tmp_path):
    notebook = nbformat.read(paths.NOTEBOOKS / "playground.ipynb", as_version=4)
    before = f"from pathlib import Path\nfrom vpstudy import paths\npaths.MODELS = Path({str(tmp_path)!r})"
    after = """playground.network.value, playground.steps.value, playground.budget.value = "lite0", 10, 1
playground.target.value = "faces"
playground.run()
print(playground.words.value)"""
    notebook.cells = [*map(nbformat.v4.new_code_cell, [before]), *notebook.cells, nbformat.v4.new_code_cell(after)]
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": "."}}).execute()
    printed = [output.text for output in notebook.cells[-1].outputs if output.get("name") == "stdout"]
    assert printed == ["done: magnitude-0.80 beside dense, on faces\n"]
    panel = notebook.cells[2].outputs[0]
    assert "application/vnd.jupyter.widget-view+json" in panel.data
