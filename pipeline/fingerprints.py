"""Hashes of the modules that each stage's notebook imports, and of those that make each embedded target.

Cells depend on these lists in place of the files themselves. A changed comment, docstring or line break, or a value
tried in JupyterLab, runs nothing again; a changed statement does, in every cell whose notebook reaches its module by
imports.
"""

import ast
import hashlib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from pipeline import normalise
from vpstudy import atomic
from vpstudy.data.registry import EMBEDDED

PACKAGES = ("vpstudy", "studies")
# May change without a run: registries (a line for something new alters nothing old), places, and what shows progress.
FREE = (
    "studies/parameters.py",  # reads and checks; a cell imports the settings that it uses
    "vpstudy/models/architectures.py",
    "vpstudy/compression/registry.py",
    "vpstudy/data/registry.py",
    "vpstudy/progress.py",
    "vpstudy/paths.py",
)
# Families of compressions are called by name, with imports of their own in functions; these modules call them, the
# second for labels.
FAMILIES = "vpstudy/compression/families"
CALL_FAMILIES = ("studies/backbones/compress.py", "studies/report.py")
MODELS = "backbones.py"  # imports a library's models when one is asked for
PROMPTS = "vpstudy/prompts/visual/registry.py"  # looks up the modules beside it by name

Digests = dict[str, str]  # by path from the project's root


def digests(notebook: Path, root: Path) -> Digests:
    """Of the notebook without outputs and parameter values, and of every module that it reaches by imports.

    Raises ValueError where the notebook is none, or a module is no Python.
    """
    stripped = normalise.strip(normalise.read(notebook))
    code = [cell["source"] for cell in stripped["cells"] if cell["cell_type"] == "code"]
    try:
        imported = [path for source in code for path in _imported(ast.parse(source), root)]
    except SyntaxError as error:
        where = f"{notebook.name}: {(error.text or '').strip()!r}"
        raise ValueError(f"{where}: {error.msg}; cells hold plain Python, no magics") from None
    return {notebook.relative_to(root).as_posix(): _digest(atomic.json_text(stripped))} | _reached(imported, root)


def of_target(name: str, root: Path) -> Digests:
    """Of the module of an embedded target, and of every module that it reaches by imports."""
    return _reached([root / f"{EMBEDDED[name].replace('.', '/')}.py"], root)


def _reached(waiting: list[Path], root: Path) -> Digests:
    """Of modules and all that they import, except what is free to change. Raises ValueError for what is no Python."""
    found: Digests = {}
    while waiting:
        name = waiting.pop().relative_to(root).as_posix()
        if name not in found and name not in FREE:
            found[name], imported = _module(root / name, root)
            waiting += imported
            waiting += sorted((root / FAMILIES).glob("*.py")) if name in CALL_FAMILIES else []
            waiting += sorted((root / name).parent.glob("*.py")) if name == PROMPTS else []
    return dict(sorted(found.items()))


def write(notebooks: Mapping[str, Path], folder: Path, root: Path) -> None:
    """Write `folder`/KIND.json for the notebook of each kind of stage; lists of other kinds are removed."""
    for kind, notebook in notebooks.items():
        atomic.write_json(folder / f"{kind}.json", digests(notebook, root))
    for stale in set(folder.glob("*.json")) - {folder / f"{kind}.json" for kind in notebooks}:
        stale.unlink()


def write_targets(folder: Path, root: Path) -> None:
    """Write `folder`/NAME.json for each embedded target; fetched ones have theirs from a stage of their own."""
    for name in EMBEDDED:
        atomic.write_json(folder / f"{name}.json", of_target(name, root))


def _module(path: Path, root: Path) -> tuple[str, list[Path]]:
    """The digest of a module without its docstrings, and the project's own files that it imports."""
    return _read_module(path, root, path.stat().st_mtime_ns)


@cache
def _read_module(path: Path, root: Path, modified: int) -> tuple[str, list[Path]]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise ValueError(f"{path.name}, line {error.lineno}: {error.msg}; nothing was run") from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, clean=False):
            node.body = node.body[1:] or [ast.Pass()]
    return _digest(ast.unparse(tree)), list(
        _imported(tree, root, in_functions=FAMILIES in path.as_posix() or path.name == MODELS)
    )


def _imported(tree: ast.Module, root: Path, in_functions: bool = False) -> Iterator[Path]:
    """The project's own files that `tree` imports at its top, or also in its functions.

    What a function imports when it is called is left out: so do the ways of JupyterLab that no cell of the grid goes.
    """
    waiting = list(tree.body)
    for node in waiting:  # grows: also what stands under `if`, `try`, `with` or in a class is run by an import
        if in_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"line {node.lineno}: write the whole name for `from {'.' * node.level}…`")
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            parts = name.split(".")
            if parts[0] in PACKAGES:
                path = root.joinpath(*parts)
                packages = [root.joinpath(*parts[:n], "__init__.py") for n in range(1, len(parts))]
                yield from (p for p in (path.with_suffix(".py"), path / "__init__.py") if p.exists())
                packages = [p for p in (*packages, path / "__init__.py") if p.exists() and p.stat().st_size]
                yield from (p for package in packages for p in package.parent.glob("*.py"))  # it may look them up


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
