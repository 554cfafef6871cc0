"""Whether backbones from elsewhere can do what a scale asks of them: only their libraries know. Loads torch."""

from studies.backbones.weights import unfit
from studies.parameters import Parameters
from vpstudy.models import libraries as outside
from vpstudy.models import published
from vpstudy.settings import ParameterError


def check(parameters: Parameters) -> None:
    """Raises ParameterError with a line for each problem; nothing is fetched or computed."""
    content, problems = parameters.model_dump(), []
    for alias in parameters.outside:
        entry = parameters.weights.root[alias]
        try:
            architecture, size = outside.architecture(entry), outside.input_size(entry)
            if entry.published:
                published.url(entry)
            problems += unfit(alias, architecture, size, content)
        except (ValueError, TypeError) as error:  # what the constructor of a model says of its arguments
            problems.append(f"weights.{alias}: {error}")
    if problems:
        lines = "\n".join(f"  - {problem}" for problem in problems)
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise ParameterError(f"scale {parameters.scale}: {count}, nothing was run\n{lines}")
