"""The pictures cell: fetch the pictures of a target, split them once and show them."""

from functools import cached_property

import numpy as np
from matplotlib.figure import Figure

from studies import results
from studies.backbones import picture_figures
from studies.cells import Cell
from studies.figures.pictures import grid
from studies.parameters import Parameters
from studies.rows import head
from vpstudy import atomic, paths
from vpstudy.data import decoding, fetched, files, splits
from vpstudy.data.origin import origin_of
from vpstudy.data.target import Target
from vpstudy.runtime import configure

MEASURED = 2000  # most originals whose sizes are read
SHOWN = 48  # most classes with a picture shown


class PicturesCell:
    """One target that is not embedded. Raises ValueError if pictures are missing, damaged or do not fit the split."""

    def __init__(self, parameters: Parameters, target: str):
        self.cell = Cell.of("pictures", "pictures", parameters.scale, target=target)
        self.runtime = configure(parameters.execution)
        self.origin = origin_of(target, parameters.pictures)
        self.target = target

    @cached_property
    def prepared(self) -> fetched.Prepared:
        return fetched.prepare(self.target, self.origin)

    @property
    def counts(self) -> dict[str, list[int]]:
        """Pictures of each class in the pool and in the test set."""
        labels, n = self.prepared.originals().labels, len(self.prepared.class_names)
        parts = {"pool": self.prepared.partition.pool, "test": self.prepared.partition.test}
        return {name: np.bincount(labels[part], minlength=n).tolist() for name, part in parts.items()}

    @cached_property
    def sizes(self) -> np.ndarray:
        """Width and height (N, 2) in px of at most `MEASURED` originals, drawn at random."""
        n = len(self.prepared.originals().names)
        draw = np.random.default_rng(0)
        positions = np.arange(n) if n <= MEASURED else np.sort(draw.choice(n, MEASURED, replace=False))
        sizes = []
        for position in positions.tolist():
            with self.prepared.originals().open(position) as image:
                sizes.append(image.size)
        return np.array(sizes)

    def figures(self) -> list[Figure]:
        originals = self.prepared.originals()
        left_out = files.counted(originals.left_out)
        counts = picture_figures.counts(self.prepared.class_names, **self.counts, left_out=left_out)
        return [counts, picture_figures.originals(self.sizes, len(originals.names))]

    def sheet(self, target: Target) -> Figure:
        """The first test picture of each of the first `SHOWN` classes."""
        labels = target.labels.numpy()[target.test]
        shown = [k for k in range(len(target.class_names)) if k in labels][:SHOWN]
        pictures = [target.pictures[target.test[np.argmax(labels == k)]] for k in shown]
        some = f"{len(shown)} of {len(target.class_names)} classes." if len(shown) < len(target.class_names) else ""
        return grid(pictures, [target.class_names[k] for k in shown], "A test picture of each class", some, columns=6)

    def save(self, target: Target) -> None:
        """Write the split if there is none, the identity that other cells depend on, and the result."""
        ready, path = self.prepared, splits.path_of(target.name)
        split = splits.content(ready.originals(), ready.partition, self.origin, ready.class_names)
        if not path.exists():
            splits.write(path, split)
        identity = {
            "fingerprint": split["fingerprint"],
            "split": {part: split[part] for part in ("pool", "test")},
            "class_names": ready.class_names,
            "decoding": decoding.VERSION,
        }
        atomic.write_json(paths.TARGETS / f"{target.name}.json", identity)
        quantiles = np.quantile(self.sizes, (0, 0.5, 1), axis=0, method="nearest").astype(int)
        facts = identity | {
            "counts": self.counts,
            "credit": target.credit,
            "originals": dict(zip(("width", "height"), quantiles.T.tolist(), strict=True)),
        }
        result = head(self.cell, self.runtime, pictures=self.origin) | {"facts": facts, "rows": []}
        results.write(results.path(self.cell), [result])
