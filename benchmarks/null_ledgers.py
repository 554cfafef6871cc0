"""How often the ledger errs: whole ledgers on made-up rows whose truth is known, judged by the study's own code.

`python -m benchmarks.null_ledgers`. Two truths: *nothing holds* (no effect, or at the margin where a claim asks for
none), so every reproduction is false; and *everything just holds* (effects of the smallest size of interest), so every
contradiction is false. Replicates are networks, or the seeds of one network. Exit code 1 if more than 5 % of ledgers
hold an error, by more than chance explains.
"""

import argparse
import sys
from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy import stats

from studies.claims import ledger
from studies.claims.verdict import LEVEL
from studies.hidden_cost import claims as hidden_cost
from studies.hidden_cost.evidence import Evidence
from studies.qprompt import claims as qprompt
from studies.qprompt.evidence import QpromptEvidence, with_harmonic_mean
from studies.qprompt.labels import COCOOP, COOP, DEEP, MAPLE, PROGRAD, QDEEP, QMAPLE, ptq, qat
from studies.vpns import claims as vpns
from studies.vpns.evidence import SINGLE_PASS, VpnsEvidence, arm
from vpstudy.data import glyphs

TARGETS = ("digits", "textures")
SEEDS = {True: 2, False: 5}  # a network, by whether networks are the replicates
NETWORK_SD, SEED_SD = {"accuracy": 0.01, "ece_debiased": 0.03}, 0.02  # of an arm's effect; as seen at `extended`
# three sparsities make a line
UPSTREAM = {"dense": 0.95, "imp-0.80": 0.949, "imp-0.90": 0.948, "imp-0.95": 0.947, "w4a4": 0.95, "w3a3": 0.95}
SURE = 0.995  # a rate of 5 % passes this often


class Draw:
    """Rows of one ledger. `holds`: everything just holds, else nothing does."""

    def __init__(self, holds: bool, networks: int, rng: np.random.Generator):
        self.holds, self.networks, self.rng = holds, networks, rng
        seeds = SEEDS[networks > 1]
        keys = [("cnn", k, seed, target) for k in range(networks) for seed in range(seeds) for target in TARGETS]
        self.runs = pd.DataFrame(keys, columns=["backbone", "source_seed", "seed", "target"])

    def noisy(self, metric: str = "accuracy") -> np.ndarray:
        """Deviations of an arm: of networks, if there are several, and of seeds."""
        of_networks = self.rng.normal(0, NETWORK_SD[metric], self.networks) * (self.networks > 1)
        return of_networks[self.runs["source_seed"]] + self.rng.normal(0, SEED_SD, len(self.runs))

    def rows(self, means: Iterable[tuple[dict, float]]) -> pd.DataFrame:
        """Rows of arms, each with its columns and mean accuracy; runs share a part, which pairing takes out."""
        shared = self.rng.normal(0, 0.05, len(self.runs))
        tables = [self.runs.assign(**of, status="ok", accuracy=mean + shared + self.noisy()) for of, mean in means]
        return pd.concat(tables, ignore_index=True)

    def hidden_cost(self) -> Evidence:
        d, tables = float(self.holds), []
        for budget in ("10", "all"):
            small = budget == "10"
            base = 0.7 + self.rng.normal(0, 0.03, len(self.runs))
            for name in UPSTREAM:
                pruned = name.startswith("imp")
                prompt = base - pruned * d * (0.03 if small else 0.01) + self.noisy()
                # the probe loses as much as the prompt in log-odds, or 0.2 less
                lost = _logit(prompt) - _logit(base) + pruned * d * 0.2
                probe = 1 / (1 + np.exp(-(_logit(base + 0.1) + lost + self.rng.normal(0, 0.1, len(base)))))
                worse = 0.02 * (d if pruned else name != "dense")
                twins = np.clip(np.round(6 - pruned * d + self.rng.normal(0, 1, len(base))), 0, 10).astype(int)
                common = {"compression": name, "budget": budget, "status": "ok", "evidence": [[1] * 10] * len(base)}
                ece = 0.1 + worse + self.noisy("ece_debiased")
                mapping = [[*range(k), *[40] * (10 - k)] for k in twins]
                for method, accuracy in (
                    ("visual_prompting", prompt),
                    ("linear_probe", probe),
                    ("mapping_only", prompt - 0.02 * d + self.noisy()),
                ):
                    table = self.runs.assign(**common, method=method, accuracy=accuracy, ece_debiased=ece)
                    tables.append(table.assign(mapping=mapping))
        facts = {"pictures": {"test": 600}, "classes": [str(k) for k in range(10)]}
        facts |= {"source_classes": glyphs.class_names}
        runs = pd.concat(tables, ignore_index=True)
        backbones = runs[["backbone", "source_seed", "compression"]].drop_duplicates()
        backbones = backbones.assign(upstream_accuracy=backbones["compression"].map(UPSTREAM), admitted=True)
        return Evidence(runs, backbones, {("cnn", target): facts for target in TARGETS})

    def vpns(self) -> VpnsEvidence:
        d = float(self.holds)
        means = {arm("vpns"): 0.0, arm("dense"): 0.01, arm("vpns_channels"): 0.0}
        means |= {arm(name): -0.005 * d for name in (*SINGLE_PASS, "imp", "vpns_input_24", "vpns_input_18")}
        for name in ("omp", "hydra"):
            means |= {arm(name, "prompt_after"): 0.01 - 0.005 * d, arm(name, "bn"): -0.1}
        means |= {arm("omp", "prompt_only"): -0.1 + 0.05 * d, arm("hydra", "prompt_only"): -0.09}
        means |= {arm(name, "source_mask"): -0.005 * d for name in ("omp", "hydra", "bip")}
        means |= {arm("vpns", "source_mask"): 0.0}
        for name in ("random", "omp", "imp"):
            means |= {arm(name, "two_pass"): 0.0, arm(name, "prompted"): 0.005 * d}
        means |= {arm("vpns_tuning_only"): -0.005 * d, arm("vpns_mask_only"): -0.01 * d}
        means |= {arm(name): 0.01 for name in ("vpns_frame_4", "vpns_frame_7", "vpns_patch", "vpns_random_patch")}
        means |= {arm(name): 0.01 for name in ("depgraph", "slimming")}
        columns = ("pruner", "arm", "view")
        rows = self.rows((dict(zip(columns, key, strict=True)), 0.7 + mean) for key, mean in means.items())
        return VpnsEvidence(rows.assign(sparsity=np.where(rows["pruner"] == "dense", 0.0, 0.80), collapsed=False))

    def qprompt(self) -> QpromptEvidence:
        d = float(self.holds)
        new_only = dict.fromkeys(("raw-1", "always-1"), (-0.01 * d, 0.02 * d))
        means = {
            COOP: (0, 0),
            ptq(1): (0, 0),
            qat(1): (-0.01 * d, 0.03 * d),  # so that H gains 0.01
            qat(2): (0.01 - 0.01 * d, 0.01 + 0.03 * d),
            PROGRAD: (-0.01 * d, 0.01 * d),
            COCOOP: (-0.01 * d, 0.01 * d),
            **{("quantizers", name): of for name, of in new_only.items()},
            ("quantizers", "never-1"): (0, 0.02 * d),
            ("noise", "fresh-0.05"): (0, 0),
            ("noise", "fresh-0.5"): (0, 0.01 * d),
            ("noise", "fresh-5"): (0, 0),
            MAPLE: (0, 0),
            QMAPLE: (0.01 * d, 0.01 * d),
            DEEP: (0, 0),
            QDEEP: (0.01 * d, 0.01 * d),
        }
        groups = [
            ({"prompter": key[0], "arm": key[1], "group": group, "bits": _bits(key)}, 0.7 + mean)
            for key, of in means.items()
            for group, mean in zip(("base", "new"), of, strict=True)
        ]
        few = [({"prompter": "few_shot", "arm": f"{n} of 4", "group": "all"}, 0.7 + m) for n, m in _few(d)]
        facts = [self.runs.assign(prompter="coop", arm="full", epoch=epoch) for epoch in (0, 1)]
        last, noise = facts[1], [self.rng.normal(0, 0.01, len(self.runs)) for _ in range(5)]
        curves = last.assign(base=0.7 + 0.01 * d + noise[0], new=0.7 - 0.01 * d + noise[1])
        spread = last.assign(sigma=1 + 0.1 * d + 5 * noise[2], ks=0.1 + noise[3], beyond_3=0.01 + 0.3 * noise[4])
        return QpromptEvidence(
            with_harmonic_mean(self.rows([*groups, *few])),
            pd.concat([facts[0].assign(base=0.7, new=0.7), curves]),
            pd.concat([facts[0].assign(sigma=1.0, ks=0.0, beyond_3=0.0), spread]),
            pd.DataFrame(columns=["prompter", "arm"]),
        )


def _logit(share: np.ndarray) -> np.ndarray:
    return np.log(share / (1 - share))


def _bits(key: tuple[str, str]) -> int | None:
    return int(key[1][-1]) if key[0] == "qcoop" else None


def _few(d: float) -> list[tuple[str, float]]:
    return [("full", 0.0), ("qat-1", 0.01 * d)]


def measure(ledgers: int, networks: int, holds: bool, seed: int = 0) -> dict[str, float]:
    """Shares of ledgers with any false reading, with Holm's correction and without it."""
    rng, wrong, alone, wanted = np.random.default_rng(seed), 0, 0, "contradicted" if holds else "reproduced"
    for _ in range(ledgers):
        draw = Draw(holds, networks, rng)
        studies = {
            "hidden_cost": (hidden_cost.CLAIMS, draw.hidden_cost()),
            "vpns": (vpns.CLAIMS, draw.vpns()),
            "qprompt": (qprompt.CLAIMS, draw.qprompt()),
        }
        entries = ledger.assess(studies, beside=False)
        assert all(entry["reading"] for entry in entries), [e["id"] for e in entries if not e["reading"]]
        wrong += any(entry["reading"] == wanted for entry in entries)
        alone += any(entry["p_against" if holds else "p"] < LEVEL for entry in entries)
    return {"ledgers": ledgers, "wrong": wrong, "rate": wrong / ledgers, "uncorrected": alone / ledgers}


def too_many(found: dict[str, float]) -> bool:
    """Whether so many errors would be rare at a rate of 5 %."""
    return found["wrong"] > stats.binom.ppf(SURE, found["ledgers"], LEVEL)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--ledgers", type=int, default=400, help="of each kind (default: 400, about 15 minutes)")
    given, failed = parser.parse_args(arguments), False
    for networks in (10, 3, 1):
        for holds in (False, True):
            found = measure(given.ledgers, networks, holds)
            error = np.sqrt(max(found["rate"] * (1 - found["rate"]), 1e-9) / given.ledgers)
            what = "false contradictions" if holds else "false reproductions"
            of = f"{networks} networks" if networks > 1 else "one network, over seeds"
            print(
                f"{what}, {of}: {100 * found['rate']:.1f} ± {100 * error:.1f} % of {given.ledgers} ledgers "
                f"(without correction: {100 * found['uncorrected']:.0f} %)",
                flush=True,
            )
            failed |= too_many(found)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
