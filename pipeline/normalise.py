"""Notebooks without what changes from run to run: the copies that cells depend on, and the rendered ones.

Notebooks are plain JSON here (nbformat 4): reading them so spares the command line a second of imports.
"""

import ast
import json
import re
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

from vpstudy import paths

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
KEPT_METADATA = ("tags", "jupyter", "editable", "slideshow")
ADDRESS = re.compile(r"\b0x[0-9a-f]{6,16}\b")
BAR = re.compile(r"\d+%\|.*\||\d+it \[\d\d:")  # tqdm
LOGGED = re.compile(r"\[?[IWEF]\d{4} \d\d:\d\d:\d\d")  # warnings of compiled libraries open with the time
NOT_RUN = "not run at this scale"  # as `studies.claims.verdict` says it, whose imports take seconds
IPYTHON_INPUT = re.compile(r"(?:/\S*?)?/ipykernel_\d+/\d+\.py")

Notebook = dict[str, Any]


def read(path: Path) -> Notebook:
    """Read the notebook at `path`. Raises ValueError where it is none, or not of format 4."""
    try:
        notebook = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no notebook: {error}") from None
    if not isinstance(notebook, dict) or notebook.get("nbformat") != 4:
        raise ValueError(f"{path} is no notebook of format 4; open and save it in JupyterLab")
    return notebook


def strip(notebook: Notebook) -> Notebook:
    """The copy of `notebook` that cells depend on: no saved run or parameter value changes it.

    No outputs, counts or editor metadata, ids by position, and names and types alone of the cell tagged `parameters`.
    Prose stays: a changed sentence re-runs the notebook, so that a page never shows text that its source lacks.
    """
    cells = []
    for index, cell in enumerate(notebook["cells"]):
        kept = _bare(cell, index)
        if _holds_parameters(kept):
            kept["source"] = "\n".join(f"{name}: {kind}" for name, kind in _declared(kept["source"]).items())
        if kept["cell_type"] == "code":
            kept |= {"outputs": [], "execution_count": None}
        cells.append(kept)
    return _notebook(cells)


def parameters(notebook: Notebook) -> dict[str, str]:
    """Names and types of the parameters, from the cell tagged `parameters`; empty where there is none.

    Raises ValueError where that cell holds anything but `name = literal`.
    """
    tagged = [cell for cell in notebook["cells"] if _holds_parameters(cell)]
    return {name: kind for cell in tagged for name, kind in _declared(_text(cell["source"])).items()}


def _holds_parameters(cell: dict[str, Any]) -> bool:
    return "parameters" in cell["metadata"].get("tags", [])


def _declared(source: str) -> dict[str, str]:
    try:
        return {s.targets[0].id: type(ast.literal_eval(s.value)).__name__ for s in ast.parse(source).body}
    except (SyntaxError, AttributeError, ValueError) as error:
        message = f"the cell tagged `parameters` has {source!r} ({error}); allowed is `name = literal` a line"
        raise ValueError(message) from None


def rendered(notebook: Notebook) -> Notebook:
    """An executed notebook without what differs between two runs on one machine, or names that machine.

    Ids by position, counts from 1, no timestamps, durations or papermill metadata, streams merged, widgets
    and progress bars dropped, memory addresses, kernel file names and absolute paths replaced. A section that says
    nothing but `NOT_RUN` is left out, unless it is the first.
    """
    cells, count = [], 0
    for index, cell in enumerate(_with_results(notebook["cells"])):
        kept = _bare(cell, index)
        if kept["cell_type"] == "code":
            if cell.get("execution_count"):
                count += 1
            outputs = [_output(output, count) for output in _merged(cell.get("outputs", []))]
            kept["outputs"] = [output for output in outputs if output]
            kept["execution_count"] = count if cell.get("execution_count") else None
        cells.append(kept)
    return _notebook(cells)


def _with_results(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    sections: list[list[dict[str, Any]]] = [[]]
    for cell in cells:
        if cell["cell_type"] == "markdown" and _text(cell["source"]).startswith("## "):
            sections.append([])
        sections[-1].append(cell)

    def says(section: list[dict[str, Any]]) -> set[str]:
        outputs = [output for cell in section for output in cell.get("outputs", [])]
        return {line for output in outputs for line in _text(output.get("text", "a display")).splitlines() if line}

    return sections[0] + [cell for section in sections[1:] if says(section) != {NOT_RUN} for cell in section]


def _notebook(cells: list[dict[str, Any]]) -> Notebook:
    metadata = {"kernelspec": dict(KERNEL), "language_info": {"name": "python"}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def _bare(cell: dict[str, Any], index: int) -> dict[str, Any]:
    metadata = {key: cell["metadata"][key] for key in KEPT_METADATA if cell["metadata"].get(key)}
    source = "\n".join(line.rstrip() for line in _text(cell["source"]).rstrip().split("\n"))
    bare = {"cell_type": cell["cell_type"], "id": f"cell-{index:02d}", "metadata": metadata, "source": source}
    if "attachments" in cell:
        bare["attachments"] = cell["attachments"]
    return bare


def _text(lines: str | list[str]) -> str:
    return lines if isinstance(lines, str) else "".join(lines)


def _merged(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is printed between two displays as one stream each: which reaches the notebook first is chance."""
    merged: list[dict[str, Any]] = []
    for is_stream, group in groupby(outputs, lambda output: output["output_type"] == "stream"):
        if not is_stream:
            merged += group
            continue
        texts = {"stdout": "", "stderr": ""}
        for output in group:
            texts[output["name"]] += _text(output["text"])
        merged += [{"output_type": "stream", "name": name, "text": _final(texts[name])} for name in texts]
    return merged


def _final(text: str) -> str:
    """`text` as a terminal shows it in the end, without progress bars and lines that open with the time."""
    lines = [line.rstrip("\r").rsplit("\r", 1) for line in text.split("\n")]
    return "\n".join(line[-1] for line in lines if not (BAR.search(line[-1]) or LOGGED.match(line[-1])))


def _output(output: dict[str, Any], count: int) -> dict[str, Any] | None:
    """`output` as it is kept; None where nothing of it is."""
    kind = output["output_type"]
    if kind == "stream":
        text = _clean(output["text"])
        return {"output_type": kind, "name": output["name"], "text": text} if text.strip() else None
    if kind == "error":
        return output | {"evalue": _clean(output["evalue"]), "traceback": list(map(_clean, output["traceback"]))}
    if any("jupyter.widget" in mime for mime in output["data"]):
        return None
    data = {mime: _clean(_text(body)) if _is_text(mime, body) else body for mime, body in output["data"].items()}
    kept = {"output_type": kind, "data": data, "metadata": output.get("metadata", {})}
    return kept | {"execution_count": count} if kind == "execute_result" else kept


def _is_text(mime: str, body: Any) -> bool:
    return (mime.startswith("text/") or mime == "image/svg+xml") and isinstance(body, str | list)


def _clean(text: str) -> str:
    text = IPYTHON_INPUT.sub("<cell>", ADDRESS.sub("0x…", text))
    places = {str(paths.ROOT): ".", sys.prefix: "<python>", sys.base_prefix: "<python>", str(Path.home()): "~"}
    for place in sorted(places.keys() - {"/"}, key=len, reverse=True):
        whole = rf"(?<![\w.~-]){re.escape(place)}(?![\w-])"  # `/usr`, but not in `/data/usr` or `/usrlocal`
        text = re.sub(whole, lambda _, place=place: places[place], text)
    return text
