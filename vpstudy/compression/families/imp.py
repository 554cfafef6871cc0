"""Iterative magnitude pruning with rewinding: loads a round of the stage `imp`.

Each round ranks all weights of the network together, as published: no layer is spared.
"""

from vpstudy.compression.family import Pruning, sparsity_text


class Imp(Pruning):
    family, form = "imp", "imp-0.80"
    words = "{} % sparse (IMP)", "IMP {} %"
    trains_on_source = True
    recovered = True

    def problem(self, rounds, checkpoints):
        if self.sparsity not in rounds:
            allowed = ", ".join(f"imp-{sparsity_text(sparsity)}" for sparsity in rounds)
            return f"is no round of imp.rounds; allowed: {allowed}, or another once its sparsity stands in imp.rounds"
        return None

    def needs(self, checkpoint):
        return (f"imp/{checkpoint}/round-{sparsity_text(self.sparsity)}.safetensors",)

    def make(self, access):
        from vpstudy.compression.iterative import load_round
        from vpstudy.compression.recipes import pruned

        weights, mask = load_round(access.folder / self.needs(access.checkpoint)[0])
        backbone = access.dense()
        backbone.model.load_state_dict(weights)
        return pruned(self, backbone, mask)
