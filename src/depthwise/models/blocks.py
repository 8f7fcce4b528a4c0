"""Layers that several papers share. Axes are B, C, H, W everywhere."""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

Norm = Callable[[int], nn.Module]
Activation = Callable[[], nn.Module]


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
        conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, groups=groups, bias=False)
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
