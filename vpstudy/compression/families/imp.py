"""Iterative magnitude pruning with rewinding: loads a round of the stage `imp`."""

from vpstudy.compression.family import Pruning, sparsity_text


class Imp(Pruning):
    family, form = "imp", "imp-0.80"
    words = "{} % sparse (IMP)", "IMP {} %"
    trains_on_source = True

    def problem(self, rounds, checkpoints):
        if self.sparsity not in rounds:
            allowed = ", ".join(f"imp-{sparsity_text(sparsity)}" for sparsity in rounds)
            return f"is no round of imp.rounds; allowed: {allowed}, or another once its sparsity stands in imp.rounds"
        return None

    def make(self, access):
        from vpstudy.compression.iterative import load_round, round_path
        from vpstudy.compression.recipes import pruned

        path = round_path(access.folder / "imp", self.sparsity)
        if not path.exists():
            raise FileNotFoundError(
                f"IMP has written no round at {sparsity_text(self.sparsity)}: put that sparsity into imp.rounds "
                "of params.yaml, then `dvc repro` (stage imp)"
            )
        weights, mask = load_round(path)
        backbone = access.dense()
        backbone.model.load_state_dict(weights)
        return pruned(self, backbone, mask)
