"""Layers that several papers share. Axes are B, C, H, W everywhere."""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal, NamedTuple

from torch import Tensor, nn
from torch.nn import functional

Norm = Callable[[int], nn.Module]
Activation = Callable[[], nn.Module]
Padding = Literal["symmetric", "same_tf"]


def batch_norm(eps: float, momentum: float) -> Norm:
    """Return a constructor of BatchNorm2d. `momentum` is PyTorch's: the share of the new batch (TF's 0.99 is 0.01)."""
    return lambda num_channels: nn.BatchNorm2d(num_channels, eps=eps, momentum=momentum)


def activation(name: str) -> Activation:
    """Return the constructor of the activation called `name`: relu, relu6 or hard_swish."""
    known: dict[str, Activation] = {
        "relu": lambda: nn.ReLU(inplace=True),
        "relu6": lambda: nn.ReLU6(inplace=True),
        "hard_swish": lambda: nn.Hardswish(inplace=True),
    }
    if name not in known:
        raise ValueError(f"activation={name!r} is not one of {', '.join(known)}")
    return known[name]


def make_divisible(value: float, divisor: int = 8) -> int:
    """Return the multiple of `divisor` nearest to `value`, at least `divisor`, and never below 90 % of `value`.

    The rule of Google's reference code for MobileNetV2 and V3 (tensorflow/models, slim/nets/mobilenet/mobilenet.py).
    """
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def bind(network: Callable[..., nn.Module], *table: Any) -> Callable[..., nn.Module]:
    """Return the constructor with its table filled in; what stays open are the options."""
    return partial(network, *table)


class SameConv2d(nn.Conv2d):
    """A convolution with an odd kernel whose output has ceil(H / stride) rows and ceil(W / stride) columns.

    PyTorch's ports add kernel_size // 2 zeros on all sides. TensorFlow's 'SAME' adds as few as it needs, the odd one at
    the bottom and on the right; weights trained that way need it (`uses_tf_padding`). With stride 1 they are one.
    """

    uses_tf_padding = False

    def forward(self, x: Tensor) -> Tensor:
        if not self.uses_tf_padding or self.stride[0] == 1:
            return super().forward(x)
        vertical, horizontal = (self._missing(side) for side in x.shape[2:])
        x = functional.pad(x, (horizontal // 2, horizontal - horizontal // 2, vertical // 2, vertical - vertical // 2))
        return functional.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)

    def _missing(self, side: int) -> int:
        """Return the zeros that an axis of this length needs."""
        kernel_size, stride = self.kernel_size[0], self.stride[0]
        return max((math.ceil(side / stride) - 1) * stride + kernel_size - side, 0)


class ConvNormAct(nn.Sequential):
    """act(norm(conv(x))) with 'same' padding for odd kernels; `act=None` leaves the output linear."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        *,
        norm: Norm,
        act: Activation | None,
        stride: int = 1,
        groups: int = 1,
    ) -> None:
        conv = SameConv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, groups=groups, bias=False)
        layers = OrderedDict[str, nn.Module](conv=conv, norm=norm(out_channels))
        if act is not None:
            layers["act"] = act()
        super().__init__(layers)


class SqueezeExcite(nn.Module):
    """x * gate(W2 act(W1 mean(x))): a weight per channel and picture (Hu et al. 2017, arXiv:1709.01507, section 3)."""

    def __init__(self, num_channels: int, squeezed: int, gate: Activation, act: Activation = nn.ReLU) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(num_channels, squeezed, 1)
        self.act = act()
        self.expand = nn.Conv2d(squeezed, num_channels, 1)
        self.gate = gate()

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean((2, 3), keepdim=True)  # (B, C, 1, 1)
        weights: Tensor = self.gate(self.expand(self.act(self.reduce(pooled))))
        return x * weights


def large_stem(
    in_channels: int, out_channels: int, norm: Norm, *, is_small: bool, pool: nn.Module | None = None
) -> nn.Sequential:
    """Return a 7x7/2 convolution and 3x3/2 pooling (stride 4 in all); for small pictures a 3x3 one with stride 1."""
    if is_small:
        return nn.Sequential(ConvNormAct(in_channels, out_channels, 3, norm=norm, act=nn.ReLU))
    conv = ConvNormAct(in_channels, out_channels, 7, stride=2, norm=norm, act=nn.ReLU)
    return nn.Sequential(conv, pool or nn.MaxPool2d(3, 2, padding=1))


class GlobalAveragePool(nn.Module):
    """(B, C, H, W) -> (B, C): the mean over all positions."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def initialise(model: nn.Module) -> None:
    """Draw convolutions from N(0, 2 / fan_out) (He et al. 2015), linear layers from N(0, 0.01^2); biases are 0.

    The rule of the public ports; the MobileNet papers do not say how their weights start.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.01)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


def stride_of(layer: nn.Module) -> int:
    """Return how many rows of a layer's input stand for one of its output: along a sequence the product."""
    if isinstance(layer, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
        return layer.stride if isinstance(layer.stride, int) else layer.stride[0]
    strides = [stride_of(child) for child in layer.children()]
    return math.prod(strides) if isinstance(layer, nn.Sequential) else max(strides, default=1)


class FeatureMap(NamedTuple):
    """A map inside a network."""

    name: str  # path of the layer that gives it, e.g. blocks.5
    stride: int  # pixels of the picture from one position to the next
    map: Tensor  # (B, C, H, W)


class Network(nn.Sequential):
    """Images (B, C, H, W) -> logits (B, K): the children one after another, in the order in which they are set.

    The children before `pool` keep maps; `classifier` is the last with weights.
    """

    classifier: nn.Module
    stages: tuple[int, ...] = ()
    """How many of `blocks` stand for each line of the paper's table, where lines are repeated."""
    initialise = staticmethod(initialise)
    """Draws a layer's first weights, by the paper's rule where it has one."""

    beside: tuple[str, ...] = ()
    """Children that are not in the sequence."""
    starts_at: str = ""
    """Child at which `forward` begins, given what that child takes instead of images; '' for the first."""

    def forward(self, images: Tensor) -> Tensor:
        return self._run(images, self.starts_at, "")

    @property
    def head_start(self) -> str:
        """The child with which the head begins: the dropout before the classifier, if any, else the classifier."""
        return "dropout" if "dropout" in self._modules else "classifier"

    @property
    def has_auxiliary(self) -> bool:
        """Whether there are classifiers for training only."""
        return any(True for name in self.beside for _ in self.get_submodule(name).children())

    def with_auxiliary(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the logits, and those (B, K) of classifiers that are there for training only; most have none."""
        return self(images), []

    def embed(self, images: Tensor) -> Tensor:
        """Return what the head takes, (B, D) in all networks but NiN, for images (B, C, H, W)."""
        return self._run(images, "", self.head_start)

    def classify(self, features: Tensor) -> Tensor:
        """Return logits (B, K) for what `embed` gives."""
        return self._run(features, self.head_start, "")

    def _run(self, x: Tensor, first: str, end: str) -> Tensor:
        """Apply the children from `first` up to, not including, `end`."""
        is_reached = not first
        for name, layer in zip(self._modules, self, strict=True):
            is_reached = is_reached or name == first
            if name == end:
                break
            if is_reached and name not in self.beside:
                x = layer(x)
        return x

    def set_padding(self, padding: Padding) -> None:
        """Pad in front of convolutions with a stride as PyTorch's ports do, or as TensorFlow does."""
        for layer in self.modules():
            if isinstance(layer, SameConv2d):
                layer.uses_tf_padding = padding == "same_tf"

    def features(self, images: Tensor) -> list[FeatureMap]:
        """Return the last map of each size, from the largest to the smallest, for images (B, C, H, W)."""
        maps, name, stride, x = [], "", 1, images
        for following, layer in self._map_layers():
            if name and stride_of(layer) > 1:
                maps.append(FeatureMap(name, stride, x))
            name, stride, x = following, stride * stride_of(layer), layer(x)
        return [*maps, FeatureMap(name, stride, x)]

    def _map_layers(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield the layers before the pooling with their paths: plain sequences one by one."""
        for name, child in self.named_children():
            if name in ("pool", "classifier"):
                return
            if isinstance(child, nn.Sequential) and not isinstance(child, ConvNormAct):
                # by _modules: named_children would give a layer that stands there twice once
                yield from ((f"{name}.{inner}", layer) for inner, layer in zip(child._modules, child, strict=True))
            else:
                yield name, child

    def reset_classifier(self, num_classes: int) -> None:
        """Put a fresh classifier for `num_classes` in place of the old one. Raises ValueError where it is fixed."""
        self.classifier = self._fresh(self.classifier, num_classes)

    def _fresh(self, old: nn.Module, num_classes: int) -> nn.Module:
        place: dict[str, Any] = {"device": next(self.parameters()).device, "dtype": next(self.parameters()).dtype}
        if isinstance(old, nn.Linear):
            new: nn.Module = nn.Linear(old.in_features, num_classes, **place)
        elif isinstance(old, nn.Conv2d):
            new = nn.Conv2d(old.in_channels, num_classes, 1, **place)
        else:
            raise ValueError(f"the classifier of this network is fixed ({type(old).__name__})")
        self.initialise(new)
        return new
