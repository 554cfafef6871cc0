"""The loop over source checkpoints inside a cell: one experiment for each, one result for all."""

from collections.abc import Callable, Sequence
from typing import Any

from studies import results
from studies.parameters import Parameters


def number(parameters: Parameters, backbone: str) -> int:
    """Source checkpoints of a backbone; one from elsewhere has a single one."""
    return 1 if backbone in parameters.weights else parameters.source.checkpoints


def each(kind: type, parameters: Parameters, backbone: str, *values: Any) -> list[Any]:
    """A cell of `kind` for each source checkpoint of `backbone`; `values` are those of its other axes."""
    return [kind(parameters, backbone, *values, checkpoint=k) for k in range(number(parameters, backbone))]


def save(
    cells: Sequence[Any],
    made: Sequence[Any],
    found: Sequence[dict],
    files: Callable[[Any, Any], None] = lambda *_: None,
) -> None:
    """Write the `files` of each cell, of what it has made, then the results that were `found` as one.

    The result comes last: where there is one, every file is there.
    """
    for cell, of in zip(cells, made, strict=True):
        files(cell, of)
    results.write(results.path(cells[0].cell), found)
