"""References that learn on features of pictures, without a prompt: linear probe and Tip-Adapter, for base classes."""

import numpy as np
import torch
import torch.nn.functional as F
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from vpstudy.runtime import generator
from vpstudy.training.prompt_learning.learning import Task

ALPHA, BETA = 1.0, 5.5  # the share of the cache, and how sharp it is: defaults of Tip-Adapter (Zhang et al., ECCV 2022)
EPOCHS, BATCH, RATE = 20, 256, 1e-3  # of Tip-Adapter-F, as published


def probe(task: Task) -> Tensor:
    """Logits (N, K) of base test pictures by logistic regression on the training features."""
    features, labels = (tensor.cpu().numpy() for tensor in task.train)
    model = LogisticRegression(max_iter=1000).fit(task.scale**0.5 * features, labels)
    decided = model.decision_function(task.scale**0.5 * task.test["base"][0].cpu().numpy())
    if decided.ndim == 1:  # two classes: one column
        decided = np.stack([np.zeros_like(decided), decided], axis=1)
    return torch.from_numpy(log_softmax(decided, axis=1))


def cached(queries: Tensor, keys: Tensor, values: Tensor, texts: Tensor, scale: float) -> Tensor:
    """Tip-Adapter's logits (N, K): those of the text, and of a cache of training pictures.

    Parameters
    ----------
    queries, keys
        Features of unit length, (N, E) and (P, E).
    values
        The classes of the keys, one-hot (P, K).
    texts
        Zero-shot features (K, E).
    """
    return scale * queries @ texts.T + ALPHA * torch.exp(-BETA * (1 - queries @ keys.T)) @ values


def tip_adapter(task: Task, seed: int, train: bool) -> Tensor:
    """Logits (N, K) of base test pictures, the cache as it is, or trained (Tip-Adapter-F)."""
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
        return cached(task.test["base"][0], keys, values, texts, task.scale)
