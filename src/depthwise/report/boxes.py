"""A layer in a reader's words."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from torch import nn

from depthwise.models.blocks import GlobalAveragePool, SqueezeExcite
from depthwise.models.efficientnet import StochasticDepth
from depthwise.models.lenet5 import ScaledTanh, SparseConv, Subsample
from depthwise.models.resnet import ZeroPadShortcut

Kind = Literal["convolution", "depthwise", "residual", "concatenating", "pooling", "linear", "excitation", "other"]
Shape = tuple[int, ...]

WHOLE = (SqueezeExcite, SparseConv, Subsample)
"""Modules that are one step to the reader, whatever is in them."""
NOTES = {
    nn.BatchNorm2d: "BN",
    nn.LocalResponseNorm: "LRN",
    nn.ReLU: "ReLU",
    nn.ReLU6: "ReLU6",
    nn.Hardswish: "hard-swish",
    nn.SiLU: "swish",
    ScaledTanh: "scaled tanh",
}
"""Layers that are written beside another one."""
SILENT = (nn.Identity, nn.Flatten)
SHORT = ((" convolution", ""), ("squeeze-and-excite", "SE"), ("channel shuffle", "shuffle"))
ZEROS = "zeros for new channels"
BLOCKS = {
    "Bottleneck": "inverted bottleneck",
    "Inception": "Inception module",
    "MBConv": "MBConv",
    "PreActivation": "pre-activation residual",
    "Residual": "residual block",
    "Separable": "separable pair",
    "Unit": "shuffle unit",
}
"""What blocks are called whose class's name does not say it."""


class Box(NamedTuple):
    """A layer with what stands beside it, e.g. a convolution with batch norm and activation."""

    what: str  # "3x3 depthwise", or "" where there are only notes
    notes: tuple[str, ...]  # "stride 2", "BN", "ReLU6"
    kind: Kind
    shape: Shape  # of its output: (C, H, W) or (K,)

    @property
    def short(self) -> str:
        """The layer in few words: 3x3 depthwise / 2."""
        stride = next((note.split()[1] for note in self.notes if note.startswith("stride")), "")
        what = self.what or ", ".join(self.notes)
        for long, short in SHORT:
            what = what.replace(long, short)
        return f"{what} / {stride}" if stride else what


def is_step(module: nn.Module) -> bool:
    """Return whether a module is one step of a block, not a block of several."""
    is_bare = not list(module.children()) and not isinstance(module, nn.Sequential)
    return is_bare or isinstance(module, WHOLE)


def box_of(layer: nn.Module, shape: Shape) -> Box | None:
    """Return a step whose output is of `shape` as a box; None where it does nothing.

    A box without `what` belongs beside another one.
    """
    if isinstance(layer, SILENT) or (isinstance(layer, StochasticDepth) and not layer.rate):
        return None
    if isinstance(layer, nn.Dropout):
        return Box("", (f"dropout {layer.p:g}",), "other", shape) if layer.p else None
    if note := NOTES.get(type(layer)):
        return Box("", (note,), "other", shape)
    if isinstance(layer, StochasticDepth):
        return Box("", ("stochastic depth",), "other", shape)
    if isinstance(layer, nn.Linear):
        return Box("linear", (), "linear", shape)
    return _convolution(layer, shape) or _pooling(layer, shape) or Box(*_special(layer), shape)


def _convolution(layer: nn.Module, shape: Shape) -> Box | None:
    if not isinstance(layer, nn.Conv2d):
        return None
    is_depthwise = layer.groups == layer.in_channels > 1
    notes = [f"stride {layer.stride[0]}"] if layer.stride[0] > 1 else []
    notes += [f"{layer.groups} groups"] if layer.groups > 1 and not is_depthwise else []
    kind: Kind = "depthwise" if is_depthwise else "convolution"
    return Box(f"{layer.kernel_size[0]}x{layer.kernel_size[1]} {kind}", tuple(notes), kind, shape)


def _pooling(layer: nn.Module, shape: Shape) -> Box | None:
    if isinstance(layer, GlobalAveragePool):
        return Box("global average", (), "pooling", shape)
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        return Box(f"average to {' x '.join(map(str, shape[1:]))}", (), "pooling", shape)
    if not isinstance(layer, nn.MaxPool2d | nn.AvgPool2d):
        return None
    side, stride = (value if isinstance(value, int) else value[0] for value in (layer.kernel_size, layer.stride))
    what = "max" if isinstance(layer, nn.MaxPool2d) else "average"
    return Box(f"{side}x{side} {what} pooling", (f"stride {stride}",) if stride > 1 else (), "pooling", shape)


def _special(layer: nn.Module) -> tuple[str, tuple[str, ...], Kind]:
    if isinstance(layer, SqueezeExcite):
        wide, narrow = layer.reduce.in_channels, layer.reduce.out_channels
        gate = "hard sigmoid" if isinstance(layer.gate, nn.Hardsigmoid) else "sigmoid"
        return "squeeze-and-excite", (f"{wide} → {narrow} → {wide}", gate), "excitation"
    if isinstance(layer, nn.ChannelShuffle):
        return "channel shuffle", (f"{layer.groups} groups",) if layer.groups > 1 else ("one group: nothing",), "other"
    if isinstance(layer, ZeroPadShortcut):
        stride = (f"stride {layer.stride}",) if layer.stride > 1 else ()
        return ZEROS, stride, "other"
    if isinstance(layer, SparseConv):
        return "5x5 convolution", ("a map sees some maps",), "convolution"
    if isinstance(layer, Subsample):
        return "2x2 subsampling", ("stride 2", "scaled tanh"), "pooling"
    return words(type(layer).__name__), (), "other"


def words(name: str) -> str:
    """Return a class's name as words: InvertedResidual -> inverted residual."""
    return BLOCKS.get(name) or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).lower()
