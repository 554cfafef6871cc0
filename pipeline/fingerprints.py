"""Hashes of the modules that each stage's notebook imports, and of those that make each embedded target.

Cells depend on these lists in place of the files themselves. A changed comment, docstring or line break, or a value
tried in JupyterLab, runs nothing again; a changed statement does, in every cell whose notebook reaches its module by
imports, those in functions too. Two comments in a module correct what its imports say: `# depends on FOLDER`, for
modules that it calls by name, and `# no dependency: WHY` behind an import.
"""

import ast
import hashlib
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from pipeline import normalise
from studies.claims import rules
from vpstudy import atomic
from vpstudy.data.registry import EMBEDDED

PACKAGES = ("vpstudy", "studies")
ARCHITECTURES = "vpstudy/models/architectures.py"
# May change without a run: registries (a line for something new alters nothing old), places, and what shows progress.
FREE = frozenset(
    {
        "studies/allowed.py",  # is looked at
        "studies/parameters.py",  # reads and checks; a cell imports the settings that it uses
        ARCHITECTURES,  # checkpoints hold what was built
        "vpstudy/compression/registry.py",
        "vpstudy/data/registry.py",
        "vpstudy/progress.py",
        "vpstudy/paths.py",
    }
)
BUILDS = {"source": ARCHITECTURES}  # but free it is not for the stage that builds networks by it
DEPENDS_ON = re.compile(r"(?m)^# depends on ([\w/]+)")
NO_DEPENDENCY = "# no dependency: "

Digests = dict[str, str]  # by path from the project's root


def digests(notebook: Path, root: Path, free: frozenset[str] = FREE) -> Digests:
    """Of the notebook without outputs and parameter values, and of every module that it reaches by imports.

    Raises ValueError where the notebook is none, or a module is no Python.
    """
    stripped = normalise.strip(normalise.read(notebook))
    code = [cell["source"] for cell in stripped["cells"] if cell["cell_type"] == "code"]
    try:
        imported = [path for source in code for path in _imported(source, root)]
    except SyntaxError as error:
        where = f"{notebook.name}: {(error.text or '').strip()!r}"
        raise ValueError(f"{where}: {error.msg}; cells hold plain Python, no magics") from None
    own = {notebook.relative_to(root).as_posix(): _digest(atomic.json_text(stripped))}
    return own | _reached(imported, root, free)


def of_target(name: str, root: Path) -> Digests:
    """Of the module of an embedded target, and of every module that it reaches by imports."""
    return _reached([root / f"{EMBEDDED[name].replace('.', '/')}.py"], root, FREE)


def write(notebooks: Mapping[str, Path], folder: Path, targets: Path, root: Path) -> None:
    """Write `folder`/KIND.json for the notebook of each kind of stage, and `targets`/NAME.json for embedded targets.

    Lists of other kinds are removed; fetched targets have theirs from a stage of their own.
    """
    for kind, notebook in notebooks.items():
        atomic.write_json(folder / f"{kind}.json", digests(notebook, root, FREE - {BUILDS.get(kind)}))
    for stale in set(folder.glob("*.json")) - {folder / f"{kind}.json" for kind in notebooks}:
        stale.unlink()
    for name in EMBEDDED:
        atomic.write_json(targets / f"{name}.json", of_target(name, root))


def _reached(waiting: list[Path], root: Path, free: frozenset[str]) -> Digests:
    found: Digests = {}
    while waiting:
        path = waiting.pop()
        name = path.relative_to(root).as_posix()
        if name not in found and name not in free:
            found[name], imported = _module(path, root, path.stat().st_mtime_ns)
            waiting += imported
    return dict(sorted(found.items()))


@cache
def _module(path: Path, root: Path, modified: int) -> tuple[str, list[Path]]:
    """The digest of a module without its docstrings, and the project's own files that it depends on."""
    text = path.read_text(encoding="utf-8")
    try:
        imported, code = list(_imported(text, root)), rules.normalised(text)
    except SyntaxError as error:
        raise ValueError(f"{path.name}, line {error.lineno}: {error.msg}; nothing was run") from None
    return _digest(code), imported


def _imported(text: str, root: Path) -> Iterator[Path]:
    """The project's own files that `text` imports, or says that it depends on."""
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"line {node.lineno}: write the whole name for `from {'.' * node.level}…`")
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        if NO_DEPENDENCY in lines[node.lineno - 1]:
            continue
        for parts in [name.split(".") for name in names if name.split(".")[0] in PACKAGES]:
            places = [root.joinpath(*parts[:length]) for length in range(1, len(parts) + 1)]
            files = [file for place in places for file in (place.with_suffix(".py"), place / "__init__.py")]
            yield from (file for file in files if file.exists() and file.stat().st_size)
    for folder in DEPENDS_ON.findall(text):
        yield from sorted((root / folder).glob("*.py"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
