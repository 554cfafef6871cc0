"""Building blocks of strict typed settings, and errors that list all problems at once."""

import difflib
from collections.abc import Collection
from itertools import pairwise
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError


class ParameterError(ValueError):
    """All problems of the parameters in one message."""


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def one_of(names: Collection[str], what: str, where: str) -> AfterValidator:
    """Validator for a name in `names`, registered in file `where`; names added later count too."""

    def check(value: str) -> str:
        if value not in names:
            raise ValueError(unknown(value, names, what, where))
        return value

    return AfterValidator(check)


def unknown(value: str, names: Collection[str], what: str, where: str) -> str:
    """Error message for a name that is not in `names`."""
    return f"no such {what}; {_hint(value, list(names))}allowed: {', '.join(names)} (registered in {where})"


def unique(values: list) -> list:
    if len(set(map(str, values))) != len(values):
        raise ValueError("each entry may stand only once")
    return values


def increasing(values: list) -> list:
    if any(a >= b for a, b in pairwise(values)):
        raise ValueError("the entries must increase strictly")
    return values


Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, le=10)]
Share = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0)]
Budget = Positive | Literal["all"]
AXIS = (Field(min_length=1), AfterValidator(unique))


class Execution(Strict):
    """Device, precision and CPU threads of torch."""

    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["auto", "fp32", "bf16"]
    threads: Positive  # per chain stage (pretraining, iterative pruning)
    cell_threads: Positive  # per other stage; these run side by side


def refuse(source: str, problems: list[str]) -> ParameterError:
    return ParameterError(
        f"{source}: {len(problems)} problem{'s' if len(problems) > 1 else ''}, nothing was run\n"
        + "\n".join(f"  - {problem}" for problem in problems)
    )


def problems_of(content: Any, model: type[BaseModel]) -> list[str]:
    """One line per problem of `content` as a `model`; members of a union share a line."""
    try:
        model.model_validate(content)
    except ValidationError as error:
        lines: dict[str, list[str]] = {}
        for each in error.errors():
            line, wishes = _explain(each, model), []
            if any(map(_tags_union, each["loc"])):
                line, _, wish = line.rpartition(": ")
                wishes = [wish]
            lines[line] = lines.get(line, []) + wishes
        return [
            f"{line}: {' or '.join(wishes).replace(' or should be ', ' or ')}" if wishes else line
            for line, wishes in lines.items()
        ]
    return []


def _explain(error: Any, model: type[BaseModel]) -> str:
    keys, given = [k for k in error["loc"] if not _tags_union(k) and k != "[key]"], error["input"]
    where = ".".join(map(str, keys))
    if error["type"] == "extra_forbidden":
        allowed = _keys_at(keys[:-1], model)
        hint = _hint(str(keys[-1]), allowed)
        return f"{where}: unknown key (its value: {given!r}); {hint}allowed: {', '.join(allowed)}"
    if error["type"] == "missing":
        return f"{where}: this key is missing"
    message = error["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if isinstance(given, dict):  # from a check across keys, whose message names them
        return f"{where}: {message}" if where else message
    return f"{where}: {given!r}: {message}"


def _hint(value: str, names: list[str]) -> str:
    close = difflib.get_close_matches(value, names, 1)
    return f"did you mean {close[0]}? " if close else ""


def _tags_union(key: Any) -> bool:
    # pydantic adds the union member that it tried to the path: "constrained-int", "literal['all']"
    return isinstance(key, str) and key.startswith(("constrained-int", "literal[", "function-after["))


def _keys_at(keys: list, model: Any) -> list[str]:
    for key in keys:
        if get_origin(model) is dict:  # the key is user-defined
            model = get_args(model)[1]
            continue
        field = getattr(model, "model_fields", {}).get(key)
        if field:
            model = field.annotation
            model = get_args(model)[0] if get_origin(model) is Annotated else model
    return list(model.model_fields)
