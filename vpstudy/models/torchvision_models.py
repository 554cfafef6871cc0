"""Models of torchvision by name, with random weights and timm's interface."""

import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torchvision.models.swin_transformer import ShiftedWindowAttention

from vpstudy.models.weights import Published

INCEPTIONS = ("googlenet", "inception_v3")  # torchvision's own makers set transform_input for all their weights


class _Reached(Exception):
    """Carries the classifier's input out of the forward pass."""


class TimmLike:
    """What `backbones` needs of timm's interface; mixed in, so that weights keep the library's names."""

    classifier_name: str

    def get_classifier(self) -> nn.Module:
        return self.get_submodule(self.classifier_name)

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


class Attention(nn.Module):
    """Self-attention as by `nn.MultiheadAttention`, of two linear layers, which are pruned and quantized as others."""

    def __init__(self, whole: nn.MultiheadAttention):
        super().__init__()
        self.num_heads, self.proj = whole.num_heads, whole.out_proj
        self.qkv = nn.Linear(1, 1)
        self.qkv.weight, self.qkv.bias = whole.in_proj_weight, whole.in_proj_bias
        self.dropout = whole.dropout

    def forward(self, tokens: Tensor, *_, need_weights: bool = False) -> tuple[Tensor, None]:
        """Tokens (N, L, width) → the same shape, and no weights."""
        query, key, value = self.qkv(tokens).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
        return self.proj(mixed.transpose(1, 2).flatten(2)), None


class WindowAttention(ShiftedWindowAttention):
    """Swin's attention, with `qkv` and `proj` called as layers, so that their hooks run."""

    def forward(self, tokens: Tensor) -> Tensor:
        with _AsLayers(self.qkv, self.proj):
            return super().forward(tokens)


class _AsLayers(TorchFunctionMode):
    """Calls the given layers, in order, where functions multiply by their weights."""

    def __init__(self, *layers: nn.Linear):
        super().__init__()
        self.layers = list(layers)

    def __torch_function__(self, function, types, args=(), kwargs=None):
        return self.layers.pop(0)(args[0]) if function is F.linear else function(*args, **kwargs or {})


def call_layers(model: nn.Module) -> None:
    """Let attention call linear layers where it multiplies by weights of its own, in place; outputs stay the same."""
    for key, module in list(model.named_modules()):
        if type(module) is nn.MultiheadAttention:
            model.set_submodule(key, Attention(module))
        elif type(module) is ShiftedWindowAttention:
            module.__class__ = WindowAttention


def create(name: str, num_classes: int = 1000, **arguments) -> nn.Module:
    """Classification model `name` of torchvision, with random weights. Raises ValueError if no classifier is found."""
    if name in INCEPTIONS:  # without heads that only training uses
        arguments = {"aux_logits": False, "init_weights": True} | arguments
    model = torchvision.models.get_model(name, weights=None, num_classes=num_classes, **arguments)
    call_layers(model)
    model.classifier_name = _classifier(model, name, num_classes)
    model.__class__ = type(f"TimmLike{type(model).__name__}", (TimmLike, type(model)), {})
    return model


def _classifier(model: nn.Module, name: str, n_classes: int) -> str:
    """Name of the layer that makes the logits: the last one with `n_classes` outputs."""
    fitting = [
        key
        for key, module in model.named_modules()
        if (isinstance(module, nn.Linear) and module.out_features == n_classes)
        or (isinstance(module, nn.Conv2d) and module.out_channels == n_classes and module.kernel_size == (1, 1))
    ]
    if not fitting:
        raise ValueError(
            f"{name}: no classifier was found; looked for the last linear layer or 1 × 1 convolution "
            f"with {n_classes} outputs"
        )
    return fitting[-1]


def published(name: str, tag: str | None) -> list[Published]:
    """The weights that torchvision calls `tag`; without it all of the model, its default first.

    Raises ValueError if torchvision has no such model or weights.
    """
    if name not in torchvision.models.list_models(torchvision.models):
        raise ValueError(
            f"torchvision/{name}: torchvision has no such model; `torchvision.models.list_models()` names all"
        )
    known = torchvision.models.get_model_weights(name)
    if tag is not None and tag not in known.__members__:
        raise ValueError(f"torchvision/{name}: there are no weights {tag!r}; allowed: {', '.join(known.__members__)}")
    found = []
    for weights in [known[tag]] if tag else [known.DEFAULT, *known]:
        preset = weights.transforms()
        size, arguments = preset.crop_size[0], {"transform_input": True} if name in INCEPTIONS else {}
        if tag and name.startswith("vit_"):
            arguments["image_size"] = size
        found.append(Published(name, size, tuple(preset.mean), tuple(preset.std), arguments))
    return found
