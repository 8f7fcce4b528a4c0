"""Our blocks with fused kernels: subclasses that add nothing to a block but another way of computing it in training.

`swap.fuse` changes a block's class to the one here: names, parameters, buffers and references stay, and
the block's own hooks (layers inside of it are passed by, and theirs with them, where kernels compute it). In
evaluation, on a GPU, and where `plain` names the place, they compute what the plain class computes.
"""

from collections.abc import Set
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from depthwise.kernels.lanes import WIDTH
from depthwise.kernels.norm import LANES
from depthwise.kernels.threads import can_launch
from depthwise.models import blocks

ACT_NAMES: dict[type[nn.Module], str] = {
    nn.Identity: "none",
    nn.ReLU: "relu",
    nn.ReLU6: "relu6",
    nn.Hardswish: "hard_swish",
    nn.SiLU: "silu",
}


class Fused(nn.Module):
    """What fused blocks have in common. Mixed in before the plain class."""

    plain: ClassVar[type[nn.Module]]
    left_plain: Set[str] = frozenset()
    """Places that PyTorch computes."""

    def place(self, x: Tensor) -> str:
        """Return the key of this block at this input: kind, shape of a picture, type."""
        _, channels, height, width = x.shape
        dtype = "bf16" if x.dtype == torch.bfloat16 else "fp32"
        return f"{self.describe()} {channels}x{height}x{width} {dtype}"

    def describe(self) -> str:
        """Return what this block is, in a few words without shapes of its input."""
        raise NotImplementedError

    def norms(self) -> list[nn.Module]:
        """Return the norms that a kernel would compute."""
        raise NotImplementedError

    def is_fused(self, x: Tensor) -> bool:
        """Return whether kernels compute this call."""
        return (
            not torch.compiler.is_compiling()
            and x.device.type == "cpu"
            and x.dim() == 4
            and x.numel() > 0
            and x.dtype in (torch.float32, torch.bfloat16)
            and (not torch.is_autocast_enabled("cpu") or torch.get_autocast_dtype("cpu") == torch.bfloat16)
            and all(can_fuse(norm, is_learning=self.training) for norm in self.norms())
            and can_launch()
            and (not self.left_plain or self.place(x) not in self.left_plain)
        )


def can_fuse(norm: nn.Module, *, is_learning: bool) -> bool:
    """Return whether the kernels compute this norm as it now is: in a block that learns, with weights, in float32."""
    return (
        type(norm) is nn.BatchNorm2d
        and (norm.training or (is_learning and norm.running_var is not None))
        and norm.weight is not None
        and norm.weight.dtype == torch.float32
        and norm.num_features <= LANES
    )


def act_name(act: nn.Module | None) -> str | None:
    """Return the kernels' name of an activation; none for None; None when they do not have it."""
    return "none" if act is None else ACT_NAMES.get(type(act))


def parts(block: nn.Module) -> tuple[nn.Conv2d, nn.BatchNorm2d, str]:
    """Return convolution, norm and activation's name of a ConvNormAct."""
    assert isinstance(block, blocks.ConvNormAct)
    conv, norm = block[0], block[1]
    act = act_name(block[2] if len(block) > 2 else None)
    assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and act is not None
    return conv, norm, act


def is_depthwise(conv: nn.Conv2d) -> bool:
    """Return whether the kernels have this convolution's backward."""
    return (
        conv.groups == conv.in_channels == conv.out_channels
        and conv.groups >= WIDTH
        and conv.kernel_size in ((3, 3), (5, 5))
        and conv.stride in ((1, 1), (2, 2))
        and conv.dilation == (1, 1)
        and conv.bias is None
        and conv.padding_mode == "zeros"
        and not isinstance(conv.padding, str)
    )


def fused_norm(x: Tensor, norm: nn.BatchNorm2d, act: str, residual: Tensor | None = None) -> Tensor:
    """Return act(norm(x) + residual) by the kernel."""
    from depthwise.kernels.norm_act import norm_act

    if residual is not None and residual.dtype != x.dtype:
        residual = residual.to(x.dtype)
    return norm_act(x, norm, act, residual)


def fused_depthwise(x: Tensor, before: tuple[nn.BatchNorm2d, str] | None, block: nn.Module) -> Tensor:
    """Return block(act(norm(x))), block a depthwise ConvNormAct, `before` the norm and activation."""
    from depthwise.kernels.norm_depthwise import norm_depthwise, window_of

    conv, norm, act = parts(block)
    norm_before, act_before = before or (None, "none")
    window = window_of(conv, x.shape[2], x.shape[3])
    return norm_depthwise(x, norm_before, act_before, conv.weight, window, norm, act)


class FusedConvNormAct(Fused, blocks.ConvNormAct):
    """Convolution; norm and activation in one pass, and its backward with a depthwise convolution's."""

    plain = blocks.ConvNormAct

    def describe(self) -> str:
        conv, _, act = parts(self)
        kind = "depthwise" if is_depthwise(conv) else "conv"
        groups = "" if conv.groups in (1, conv.in_channels) else f" groups {conv.groups}"
        size, stride = conv.kernel_size[0], conv.stride[0]
        return f"{kind} {size}x{size}/{stride}{groups} to {conv.out_channels}, norm, {act}"

    def norms(self) -> list[nn.Module]:
        return [self[1]]

    def forward(self, x: Tensor) -> Tensor:
        if not self.is_fused(x):
            return self.plain.forward(self, x)  # type: ignore[no-any-return]
        conv, norm, act = parts(self)
        if is_depthwise(conv):
            return fused_depthwise(in_working_type(x), None, self)
        return fused_norm(conv(x), norm, act)


def in_working_type(x: Tensor) -> Tensor:
    """Return x in autocast's type, as a convolution would take it."""
    return x.to(torch.get_autocast_dtype("cpu")) if torch.is_autocast_enabled("cpu") else x


class FusedSqueezeExcite(Fused, blocks.SqueezeExcite):
    """Squeeze-and-excite with the passes over its large tensor fused."""

    plain = blocks.SqueezeExcite

    def describe(self) -> str:
        return f"squeeze-and-excite by {self.reduce.out_channels}"

    def norms(self) -> list[nn.Module]:
        return []

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.is_fused(x):
            return self.plain.forward(self, x)
        from depthwise.kernels.squeeze_excite import squeeze_excite

        return squeeze_excite(x, self.gates, list(self.parameters()))

    def gates(self, pooled: Tensor) -> Tensor:
        """Return the weights (B, C, 1, 1) of channels."""
        weights: Tensor = self.gate(self.expand(self.act(self.reduce(pooled))))
        return weights


class FusedSequential(Fused, nn.Sequential):
    """A plain sequence, in which batch norms take the activation that follows into their pass."""

    plain = nn.Sequential

    def describe(self) -> str:
        acts = [act for _, act in self.pairs().values()]
        return f"norm, {acts[0]}" if acts else ""

    def norms(self) -> list[nn.Module]:
        return [norm for norm, _ in self.pairs().values()]

    def pairs(self) -> dict[int, tuple[nn.BatchNorm2d, str]]:
        """Return norms with a known activation behind them, by their index."""
        layers = list(self)
        found = {}
        for index, (layer, after) in enumerate(pairwise(layers)):
            act = act_name(after)
            if isinstance(layer, nn.BatchNorm2d) and act not in (None, "none"):
                found[index] = (layer, act)
        return found

    def forward(self, x: Tensor) -> Tensor:
        if not isinstance(x, Tensor) or not self.is_fused(x):
            return self.plain.forward(self, x)  # type: ignore[no-any-return]
        pairs, layers = self.pairs(), list(self)
        index = 0
        while index < len(layers):
            if index in pairs and x.dim() == 4:
                x = fused_norm(x, *pairs[index])
                index += 2
            else:
                x = layers[index](x)
                index += 1
        return x
