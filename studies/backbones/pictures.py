"""The pictures cell: fetch the pictures of a target, split them once for all, and show what they are."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from pipeline import code
from studies import results
from studies.backbones import picture_figures as picture_cell
from studies.cells import Cell
from vpstudy import atomic, paths
from vpstudy.data import splits
from vpstudy.data.fetched import DECODING, Prepared, class_names, find
from vpstudy.data.settings import AllPictures, source_of
from vpstudy.data.targets import Target
from vpstudy.runtime import configure
from vpstudy.settings import Execution
from vpstudy.settings import section as read_section

SIZE = 32  # px, of what is decoded here; every other size is decoded when it is first asked for
MEASURED = 2000  # originals whose sizes are read
SHOWN = 48  # classes of which a picture is shown


@dataclass
class PicturesCell:
    """One target that is not embedded.

    Raises
    ------
    ValueError
        If its pictures are not there and cannot be fetched, are damaged, or are not those of its split file.
    """

    scale: str
    target: str

    def __post_init__(self):
        self.cell = Cell.of("pictures", "pictures", self.scale, target=self.target)
        self.runtime = configure(read_section("execution", Execution, self.scale))
        section = read_section("pictures", AllPictures, self.scale)
        self.source = source_of(self.target, section.root)
        self.path = paths.SPLITS / f"{self.target}.json"

    def fetch(self) -> Prepared:
        """The pictures, in the split that the file in git tells; a new split where there is no such file."""
        found = find(self.target, self.source, download=True)
        split = splits.read(self.path, found, self.source) if self.path.exists() else splits.choose(found, self.source)
        return Prepared(self.target, self.source, found, class_names(self.target, self.source, found.folders), split)

    def counts(self, prepared: Prepared) -> dict[str, list[int]]:
        """Pictures of each class, to draw from and to test on."""
        labels, n = prepared.found.labels, len(prepared.class_names)
        parts = {"pool": prepared.split.pool, "test": prepared.split.test}
        return {name: np.bincount(labels[part], minlength=n).tolist() for name, part in parts.items()}

    def originals(self, prepared: Prepared) -> np.ndarray:
        """Width and height (N, 2) in px of originals, of a sample where there are many."""
        draw = np.random.default_rng(0)
        n = len(prepared.found.names)
        positions = np.arange(n) if n <= MEASURED else np.sort(draw.choice(n, MEASURED, replace=False))
        sizes = []
        for position in positions:
            with prepared.found.open(int(position)) as image:
                sizes.append(image.size)
        return np.array(sizes)

    def sheet(self, target: Target) -> Figure:
        """The first test picture of each class, of the first classes where there are many."""
        labels = target.labels.numpy()[target.test]
        shown = [k for k in range(len(target.class_names)) if k in labels][:SHOWN]
        pictures = [target.pictures[target.test[np.argmax(labels == k)]] for k in shown]
        names = [target.class_names[k] for k in shown]
        some = f"{len(shown)} of {len(target.class_names)} classes." if len(shown) < len(target.class_names) else ""
        return picture_cell.sheet(pictures, names, some)

    def figures(self, prepared: Prepared) -> list[Figure]:
        """Counts by class, and sizes of originals."""
        counts = self.counts(prepared)
        sizes = picture_cell.originals(self.originals(prepared), len(prepared.found.names))
        return [picture_cell.counts(prepared.class_names, counts["pool"], counts["test"]), sizes]

    def save(self, prepared: Prepared, target: Target) -> None:
        """Write the split, unless there is one; then what cells depend on, and the record."""
        split = splits.record(prepared.found, prepared.split, self.source, prepared.class_names)
        if not self.path.exists():
            splits.write(self.path, split)
        identity = {
            "fingerprint": split["fingerprint"],
            "split": {part: split[part] for part in ("pool", "test")},
            "class_names": prepared.class_names,
            "code": code.of_modules([DECODING], paths.ROOT),  # of the rest, what comes out stands above
        }
        atomic.write_json(paths.TARGETS / f"{self.target}.json", identity)
        results.write(results.path(self.cell), self._record(target, prepared, identity))

    def _record(self, target: Target, prepared: Prepared, identity: dict[str, Any]) -> dict[str, Any]:
        axes = {"stage": "pictures", "study": "pictures", "scale": self.scale, "target": self.target}
        sizes = self.originals(prepared)
        facts = identity | {
            "counts": self.counts(prepared),
            "origin": target.origin,
            "originals": {
                name: [int(value) for value in np.quantile(sizes[:, side], (0, 0.5, 1), method="nearest")]
                for side, name in enumerate(("width", "height"))
            },
        }
        return {
            "cell": axes | {"settings": {"pictures": self.source.model_dump()}},
            "environment": results.environment(**self.runtime.record()),
            "facts": facts,
            "rows": [],
        }
