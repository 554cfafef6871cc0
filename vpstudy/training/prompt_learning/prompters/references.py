"""References without prompts on features of base-class pictures: linear probe and Tip-Adapter."""

from itertools import product

from vpstudy.training.prompt_learning.prompters.base import Arm, Prompter

ALPHA, BETA = 1.0, 5.5  # weight and sharpness of the cache: defaults of Tip-Adapter (Zhang et al., ECCV 2022)
# As published, validation chooses both; it trains with the defaults.
ALPHAS, BETAS = (ALPHA, 0.3, 3.0, 10.0, 30.0, 100.0), (BETA, 1.0, 2.0, 3.0, 10.0, 20.0)
EPOCHS, BATCH, RATE = 20, 256, 1e-3  # of Tip-Adapter-F, as published


def arms(trial):
    task, seed = trial.task, trial.seed
    features, labels = task.train
    own = {"n_weights": (features.shape[1] + 1) * len(task.base_names), "published_weights": None}
    yield Arm("probe", seed, {"base": probe(task)}, **own)
    own["n_weights"] = features.numel() + len(labels)  # the cache
    yield Arm("tip", seed, {"base": tip_adapter(task, seed, train=False)}, **own)
    yield Arm("tip-f", seed, {"base": tip_adapter(task, seed, train=True)}, **own)


def probe(task):
    """Logits (N, K) of base test pictures by logistic regression on the training features."""
    import numpy as np
    import torch
    from scipy.special import log_softmax
    from sklearn.linear_model import LogisticRegression

    features, labels = (tensor.cpu().numpy() for tensor in task.train)
    model = LogisticRegression(max_iter=1000).fit(task.scale**0.5 * features, labels)
    decided = model.decision_function(task.scale**0.5 * task.test["base"][0].cpu().numpy())
    if decided.ndim == 1:  # two classes: one column
        decided = np.stack([np.zeros_like(decided), decided], axis=1)
    return torch.from_numpy(log_softmax(decided, axis=1))


def cached(queries, keys, values, texts, scale: float, alpha: float = ALPHA, beta: float = BETA):
    """Tip-Adapter's logits (N, K): those of the texts plus those of a cache of training pictures.

    `queries` (N, E) and `keys` (P, E) are features of unit length, `values` (P, K) the one-hot classes of the keys, and
    `texts` (K, E) zero-shot features.
    """
    return scale * queries @ texts.T + alpha * (-beta * (1 - queries @ keys.T)).exp() @ values


def tip_adapter(task, seed: int, train: bool):
    """Logits (N, K) of base test pictures; with `train` the cache is trained (Tip-Adapter-F)."""
    import torch
    import torch.nn.functional as F

    from vpstudy.runtime import generator

    features, labels = task.train
    texts = task.hand_written["base"]
    values = F.one_hot(labels, len(texts)).float()
    keys = features.clone().requires_grad_(train)
    if train:
        optimizer = torch.optim.AdamW([keys], lr=RATE, eps=1e-4)
        draw, steps = generator("tip-adapter", seed), EPOCHS * -(-len(labels) // BATCH)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(EPOCHS):
            for chosen in torch.randperm(len(labels), generator=draw).to(labels.device).split(BATCH):
                loss = F.cross_entropy(cached(features[chosen], keys, values, texts, task.scale), labels[chosen])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
    with torch.no_grad():
        pictures, classes = task.validation

        def right(how: tuple[float, float]) -> int:
            return int((cached(pictures, keys, values, texts, task.scale, *how).argmax(1) == classes).sum())

        best = max(product(ALPHAS, BETAS), key=right)  # of equals the first
        return cached(task.test["base"][0], keys, values, texts, task.scale, *best)


PROMPTER = Prompter(
    "on picture features",
    arms,
    role="reference",
    arm_labels={"probe": "linear probe", "tip": "Tip-Adapter", "tip-f": "Tip-Adapter-F"},
)
