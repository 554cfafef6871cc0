"""Tables beside a notebook's parameters: allowed values, and settings; no result depends on them."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from IPython.display import HTML
from pydantic import BaseModel

from studies import grid
from studies.figures import tables
from studies.parameters import Parameters, load
from vpstudy.compression.registry import allowed_names
from vpstudy.data.registry import EMBEDDED, KNOWN
from vpstudy.models.architectures import ARCHITECTURES
from vpstudy.training.mask_search.methods import METHODS
from vpstudy.training.prompt_learning.registry import PROMPTERS


def table(stage: str) -> HTML:
    """A row for each parameter of a stage's notebook: its values in `params.yaml`, and all that are known."""
    parameters = load()
    known = everything(parameters)
    rows = [
        {"parameter": axis, "in params.yaml": ", ".join(map(str, values)) or "none", "known": known[axis]}
        for axis, values in grid.axes(parameters, stage).items()
    ]
    return HTML(tables.html(pd.DataFrame(rows)))


def settings(of: BaseModel | Mapping[str, Any]) -> HTML:
    """A row for each setting or fact."""
    named = of.model_dump() if isinstance(of, BaseModel) else of
    return HTML(tables.html(pd.DataFrame({"name": named.keys(), "value": map(str, named.values())})))


def everything(parameters: Parameters) -> dict[str, str]:
    """All known values of each axis."""
    names = {
        "backbone": [*ARCHITECTURES, *parameters.weights],
        "target": [*EMBEDDED, *KNOWN, *parameters.pictures],
        "pruner": METHODS,
        "prompter": PROMPTERS,
    }
    return {axis: ", ".join(dict.fromkeys(of)) for axis, of in names.items()} | {"compression": allowed_names()}
