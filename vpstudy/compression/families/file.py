"""A compressed checkpoint from outside, an entry of `checkpoints`."""

import re

from vpstudy.compression.family import Compression


class File(Compression):
    family, form = "file", "file-NAME"
    of_networks = True

    @classmethod
    def read(cls, name, rest):
        if not re.fullmatch(r"-[a-z0-9][a-z0-9_]*", rest):
            raise ValueError("give the key of an entry of `checkpoints`: lower-case letters, digits and underscores")
        return cls(name)

    @property
    def label(self):
        """Key of the entry."""
        return self.name.removeprefix("file-")

    def problem(self, rounds, checkpoints):
        if self.label not in checkpoints:
            allowed = ", ".join(f"file-{key}" for key in checkpoints) or "none, checkpoints is empty"
            return f"is no entry of checkpoints; allowed: {allowed}"
        return None

    def make(self, access):
        from vpstudy import paths
        from vpstudy.compression.masks import Mask
        from vpstudy.compression.recipes import pruned
        from vpstudy.models import checkpoints
        from vpstudy.models.files import fetch

        entry, backbone = access.checkpoints[self.label], access.dense()
        path = fetch(entry.location, entry.sha256, paths.RAW)
        checkpoints.load(backbone.model, path, backbone.name)
        return pruned(self, backbone, Mask.nonzero(backbone.prunable))
