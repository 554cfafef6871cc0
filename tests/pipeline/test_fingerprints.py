"""What a stage depends on of the code: every module that it reaches, and of each only what can change a result."""

import ast
import json
import re

import pytest

from pipeline import fingerprints
from studies import grid
from vpstudy import paths
from vpstudy.data.registry import EMBEDDED

NOTEBOOK = """{"cells": [{"cell_type": "code", "id": "a", "metadata": {}, "source": "from vpstudy import %s",
 "outputs": [], "execution_count": null}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}"""
MODULE = '''"""What it is."""

def f(x):
    """What it does."""
    return x + 1  # why
'''


@pytest.fixture
def root(tmp_path):
    (tmp_path / "vpstudy" / "inner").mkdir(parents=True)
    files = {"a": "from vpstudy.inner import b\n", "inner/b": "import vpstudy.c\n", "c": MODULE, "unused": "x = 1\n"}
    files["lazy"] = "def f():\n    from vpstudy import late, unused  # no dependency: tried\n    import vpstudy.late\n"
    files["late"] = "x = 1\n"
    for name, text in files.items():
        (tmp_path / "vpstudy" / f"{name}.py").write_text(text)
    (tmp_path / "n.ipynb").write_text(NOTEBOOK % "a, lazy")
    return tmp_path


def test_every_module_reached_by_imports_is_listed_and_no_other(root):
    found = fingerprints.digests(root / "n.ipynb", root)
    assert list(found) == ["n.ipynb", *(f"vpstudy/{name}.py" for name in ("a", "c", "inner/b", "late", "lazy"))]


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("# why", "# because", True),
        ("What it does.", "What it did.", True),
        ("What it is.", "What it was.", True),
        ("x + 1", "x+1", True),
        ("x + 1", "(x\n        + 1)", True),
        ("x + 1", "x + 2", False),
        ("def f(x)", "def f(x, y=0)", False),
        ("return x", "x = 3\n    return x", False),
    ],
)
def test_only_what_can_change_a_result_counts(root, before, after, same):
    path = root / "vpstudy" / "c.py"
    first = fingerprints.digests(root / "n.ipynb", root)
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))
    second = fingerprints.digests(root / "n.ipynb", root)
    assert (second == first) == same
    assert {name for name in first if first[name] != second[name]} == (set() if same else {"vpstudy/c.py"})


def test_a_function_of_nothing_but_its_docstring_stays_python(root):
    (root / "vpstudy" / "c.py").write_text('def f():\n    """Nothing."""\n')
    assert "vpstudy/c.py" in fingerprints.digests(root / "n.ipynb", root)


def test_a_module_that_is_no_python_is_named(root):
    (root / "vpstudy" / "c.py").write_text("def f(:\n")
    with pytest.raises(ValueError, match=r"c\.py, line 1: .*nothing was run"):
        fingerprints.digests(root / "n.ipynb", root)


def test_embedded_targets_depend_on_all_that_they_import():
    letters, digits = (fingerprints.of_target(name, paths.ROOT) for name in ("letters", "digits"))
    assert {"vpstudy/data/targets/letters.py", "vpstudy/data/target.py", "vpstudy/data/glyphs.py"} <= letters.keys()
    assert not {"vpstudy/data/targets/letters.py", "vpstudy/data/glyphs.py", "vpstudy/data/registry.py"} & digits.keys()


def test_what_is_free_to_change_is_there():
    assert all((paths.ROOT / name).exists() for name in fingerprints.FREE)


@pytest.mark.parametrize("kind", grid.STAGES)
def test_the_project_s_own_notebooks_reach_their_study(kind):
    stage = grid.STAGES[kind]
    found = fingerprints.digests(paths.NOTEBOOKS / f"{stage.notebook}.ipynb", paths.ROOT)
    study = {"pictures": "backbones"}.get(stage.study, stage.study)
    assert any(name.startswith(f"studies/{study}/") for name in found)
    for name in found.keys() - {f"notebooks/{stage.notebook}.ipynb"}:
        ast.parse((paths.ROOT / name).read_text())


def test_what_a_module_calls_by_name_counts_as_it_says(root):
    (root / "vpstudy/inner/d.py").write_text("x = 1\n")
    assert "vpstudy/inner/d.py" not in fingerprints.digests(root / "n.ipynb", root)
    (root / "vpstudy/c.py").write_text("# depends on vpstudy/inner, called by name\n")
    assert "vpstudy/inner/d.py" in fingerprints.digests(root / "n.ipynb", root)


def test_a_package_with_code_counts_with_what_is_in_it(root):
    (root / "vpstudy/inner/__init__.py").write_text("x = 1\n")
    assert "vpstudy/inner/__init__.py" in fingerprints.digests(root / "n.ipynb", root)


@pytest.mark.parametrize("kind", ["source", "transfer"])
def test_an_architecture_counts_where_networks_are_built_by_it(kind, tmp_path):
    notebooks = {kind: paths.NOTEBOOKS / f"{grid.STAGES[kind].notebook}.ipynb"}
    fingerprints.write(notebooks, tmp_path / "code", tmp_path / "targets", paths.ROOT)
    listed = json.loads((tmp_path / f"code/{kind}.json").read_text())
    assert ("vpstudy/models/architectures.py" in listed) == (kind == "source")
    assert "vpstudy/paths.py" not in listed


@pytest.mark.parametrize("kind", ["clip_source", "other_pictures"])
def test_what_measures_on_several_targets_depends_on_all_embedded_ones(kind):
    found = fingerprints.digests(paths.NOTEBOOKS / f"{grid.STAGES[kind].notebook}.ipynb", paths.ROOT)
    assert {f"{module.replace('.', '/')}.py" for module in EMBEDDED.values()} <= found.keys()


def test_every_lookup_by_name_says_what_it_depends_on():
    """Of the modules that count; registries that are free say nothing."""
    for path in [file for package in fingerprints.PACKAGES for file in (paths.ROOT / package).rglob("*.py")]:
        looks_up = {"resolve_name", "import_module"} & set(re.findall(r"\w+", text := path.read_text()))
        free = path.relative_to(paths.ROOT).as_posix() in fingerprints.FREE or path.name == "target.py"
        assert not looks_up or free or fingerprints.DEPENDS_ON.search(text), path
