"""The cell tagged `parameters`: what it declares, and its values taken out and put in."""

import ast
import json
import re
from typing import Any

TYPES = {kind.__name__: kind for kind in (str, int, float, bool, list, dict)}


def is_one(cell: dict[str, Any]) -> bool:
    return "parameters" in cell["metadata"].get("tags", [])


def types(notebook: dict[str, Any]) -> dict[str, type]:
    """Names and types of the parameters, from the cell tagged `parameters`; empty where there is none.

    Raises ValueError where that cell holds anything but `name = literal` (or, in a copy, `name = type`).
    """
    tagged = [cell for cell in notebook["cells"] if is_one(cell)]
    return {name: kind for cell in tagged for name, kind, _ in _assignments(_source(cell))}


def fill(notebook: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """`notebook` with `values` in the cell tagged `parameters`: what `strip` takes out, put in again.

    papermill would inject a second cell; one cell reads better, and its comments stay true.
    Raises ValueError, naming every name that is unknown, lacking, or given a value of the wrong type.
    """
    known, problems = types(notebook), []
    for name, value in values.items():
        if name not in known:
            problems.append(f"{name} is no parameter; allowed: {', '.join(known) or 'none'}")
        elif type(value) is not known[name]:
            given, wanted = type(value).__name__, known[name].__name__
            problems.append(f"{name} is {value!r}, of type {given}; allowed is {wanted}")
    problems += [f"{name} has no value" for name in known if name not in values]
    if problems:
        raise ValueError("the cell tagged `parameters` does not fit:\n  " + "\n  ".join(problems))
    written = {name: json.dumps(v, ensure_ascii=False) if isinstance(v, str) else repr(v) for name, v in values.items()}
    cells = [
        cell | {"source": _replaced(_source(cell), written)} if is_one(cell) else cell for cell in notebook["cells"]
    ]
    return notebook | {"cells": cells}


def without_values(source: str) -> str:
    """`source` with the type of each value in its place; comments stay."""
    return _replaced(source, {name: kind.__name__ for name, kind, _ in _assignments(source)})


def _assignments(source: str) -> list[tuple[str, type, ast.expr]]:
    """Name, type and value expression of each line of a parameters cell."""
    try:
        statements = ast.parse(source).body
    except SyntaxError as error:
        raise ValueError(f"the cell tagged `parameters`, line {error.lineno}: {error.msg}") from None
    found = []
    for statement in statements:
        try:
            (target,), value = statement.targets, statement.value
            type_name = value.id if isinstance(value, ast.Name) else type(ast.literal_eval(value)).__name__
            found.append((target.id, TYPES[type_name], value))
        except (AttributeError, KeyError, ValueError, TypeError):
            line = ast.unparse(statement)
            message = f"the cell tagged `parameters` has {line!r}; allowed is `name = literal`"
            raise ValueError(message) from None
    return found


def _replaced(source: str, values: dict[str, str]) -> str:
    """`source` with the text of each value replaced by that in `values`; comments stay."""
    lines = source.encode().split(b"\n")  # ast counts columns in bytes
    for name, _, value in reversed(_assignments(source)):
        first, last = value.lineno - 1, value.end_lineno - 1
        before, after = lines[first][: value.col_offset], lines[last][value.end_col_offset :]
        after = re.sub(rb"^ +#", b"  #", after)  # aligned comments would move with the values' length
        lines[first : last + 1] = [before + values[name].encode() + after]
    return b"\n".join(lines).decode()


def _source(cell: dict[str, Any]) -> str:
    return cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])
