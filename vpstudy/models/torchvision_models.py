"""Models of torchvision by name, with random weights and timm's interface."""

from typing import Any

import torch
import torchvision
from torch import Tensor, nn


class _Reached(Exception):
    """Carries the classifier's input out of the forward pass."""


class TimmLike:
    """What `backbones` needs of timm's interface; mixed in, so that weights keep the library's names."""

    classifier_name: str

    def get_classifier(self) -> nn.Module:
        layer = self.get_submodule(self.classifier_name)
        if isinstance(layer, nn.Conv2d):
            layer.in_features = layer.in_channels
        return layer

    def forward_features(self, pictures: Tensor) -> Tensor:
        """Classifier input: (N, F), or maps (N, F, H, W) if the classifier is a convolution."""

        def stop(_, inputs: tuple[Tensor, ...]) -> None:
            raise _Reached(inputs[0])

        hook = self.get_classifier().register_forward_pre_hook(stop, prepend=True)  # before it is rounded, as in timm
        try:
            self(pictures)
        except _Reached as reached:
            return reached.args[0]
        finally:
            hook.remove()
        raise RuntimeError(f"{self.classifier_name} was not reached")

    def forward_head(self, features: Tensor, pre_logits: bool = True) -> Tensor:
        """Pooled features (N, F), never logits: further layers may follow the classifier."""
        return features.mean((2, 3)) if features.ndim == 4 else features


def create(name: str, num_classes: int = 1000, **arguments) -> nn.Module:
    """Classification model `name` of torchvision, with random weights. Raises ValueError if no classifier is found."""
    model = torchvision.models.get_model(name, weights=None, num_classes=num_classes, **arguments)
    model.classifier_name = _classifier(model, name, num_classes, takes(name, arguments)[0])
    model.__class__ = type(f"TimmLike{type(model).__name__}", (TimmLike, type(model)), {})
    return model


def _classifier(model: nn.Module, name: str, n_classes: int, size: int) -> str:
    """Name of the layer that makes the logits: the last one with `n_classes` outputs in a forward pass."""
    passed: list[str] = []
    hooks = [
        module.register_forward_hook(lambda *_, key=key: passed.append(key))
        for key, module in model.named_modules()
        if (isinstance(module, nn.Linear) and module.out_features == n_classes)
        or (isinstance(module, nn.Conv2d) and module.out_channels == n_classes and module.kernel_size == (1, 1))
    ]
    training = model.training
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, size, size, device=next(model.parameters()).device))
    model.train(training)
    for hook in hooks:
        hook.remove()
    if not passed:
        raise ValueError(
            f"{name}: no classifier was found; looked for the last linear layer or 1 × 1 convolution "
            f"with {n_classes} outputs"
        )
    return passed[-1]


def takes(name: str, arguments: dict[str, Any]) -> tuple[int, list[float], list[float]]:
    """Picture side, mean and std from torchvision. Raises ValueError if it has no such model."""
    if name not in torchvision.models.list_models(torchvision.models):
        raise ValueError(
            f"torchvision/{name}: torchvision has no such model; `torchvision.models.list_models()` names all"
        )
    preset = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    return arguments.get("image_size", preset.crop_size[0]), list(preset.mean), list(preset.std)
