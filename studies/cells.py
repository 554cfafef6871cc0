"""The identity of a cell of the grid: one papermill run of one notebook, one result file."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """A stage and its axis values, in the order of the stage's matrix in dvc.yaml.

    `Cell("transfer", "hidden_cost", "default", (("backbone", "cnn"), ("compression", "int4"), ("target", "digits")))`
    """

    stage: str
    study: str
    scale: str
    axes: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, stage: str, study: str, scale: str, **axes: str) -> "Cell":
        return cls(stage, study, scale, tuple(axes.items()))

    @property
    def slug(self) -> str:
        """Axis values: `cnn-imp-0.80-digits`."""
        return "-".join(value for _, value in self.axes)

    @property
    def name(self) -> str:
        """Stage name in DVC: `transfer@cnn-imp-0.80-digits`."""
        return "@".join(filter(None, (self.stage, self.slug)))

    @property
    def file(self) -> str:
        """Stem of the cell's files: `transfer-cnn-imp-0.80-digits`."""
        return "-".join(filter(None, (self.stage, self.slug)))
