"""Fused kernels into a network, and out of it."""

from collections.abc import Mapping

from torch import nn

from depthwise.kernels.families import SWAPS
from depthwise.kernels.modules import Fused, FusedSequential, act_name
from depthwise.models import blocks


def fuse(model: nn.Module, chosen: Mapping[str, str] | None = None) -> nn.Module:
    """Let fused kernels compute this network's training, in place; return it.

    `chosen` says for places (see `choice.choose`) "fused" or "torch"; places that it does not name are fused. Only
    classes of blocks change: state dict, parameters and what the network computes are the same, but for rounding.
    """
    left_plain = frozenset(place for place, way in (chosen or {}).items() if way == "torch")
    for module in model.modules():
        swapped = SWAPS.get(type(module))
        if swapped is not None and _has_kernels(module):
            module.__class__ = swapped
        if isinstance(module, Fused):
            module.left_plain = left_plain
    return model


def unfuse(model: nn.Module) -> nn.Module:
    """Undo `fuse`, in place; return the network."""
    for module in model.modules():
        if isinstance(module, Fused):
            module.__dict__.pop("left_plain", None)
            module.__class__ = module.plain  # type: ignore[assignment]
    return model


def _has_kernels(module: nn.Module) -> bool:
    """Return whether the kernels have what stands in this block."""
    if type(module) is nn.Sequential:
        return bool(FusedSequential.pairs(module))  # type: ignore[arg-type]
    return all(
        isinstance(block[1], nn.BatchNorm2d) and act_name(block[2] if len(block) > 2 else None) is not None
        for block in module.modules()
        if isinstance(block, blocks.ConvNormAct)
    )
