"""act(norm(depthwise(act(norm(x))))) as one differentiable function, over kernels of `depthwise*`."""

from functools import cache, reduce
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from depthwise.kernels.depthwise import convolve as convolve_kernel
from depthwise.kernels.depthwise_back import convolve_back
from depthwise.kernels.lanes import WIDTH
from depthwise.kernels.norm import tables
from depthwise.kernels.norm_act import (
    Affine,
    Moments,
    apply_affine,
    channels_last,
    positions,
    refuse_single,
    slope_sums,
    undo_norm,
)
from depthwise.kernels.numbers import ACTIVATIONS
from depthwise.kernels.threads import launch
from depthwise.models.blocks import SameConv2d

Array = NDArray[Any]


class Window(NamedTuple):
    """Where a depthwise convolution looks."""

    size: int
    stride: int
    top: int
    left: int
    out_height: int
    out_width: int


def window_of(conv: nn.Conv2d, height: int, width: int) -> Window:
    """Return where this convolution looks on a map of this size."""
    size, stride, pad = conv.kernel_size[0], conv.stride[0], conv.padding[0]
    assert isinstance(pad, int)
    out_height, out_width = ((side + 2 * pad - size) // stride + 1 for side in (height, width))
    if isinstance(conv, SameConv2d) and conv.uses_tf_padding and stride > 1:
        vertical, horizontal = conv._missing(height), conv._missing(width)
        return Window(size, stride, vertical // 2, horizontal // 2, -(-height // stride), -(-width // stride))
    return Window(size, stride, pad, pad, out_height, out_width)


@cache
def groups_of(num_channels: int) -> NDArray[np.intp]:
    """Return channels by groups of sixteen, (L, 16); the last group shares some with the one before."""
    firsts = np.arange(-(-num_channels // WIDTH)) * WIDTH
    return np.minimum(firsts, num_channels - WIDTH)[:, None] + np.arange(WIDTH)


def in_groups(weight: Tensor) -> Array:
    """Return weights (C, 1, K, K) by groups of channels, (L, K K, 16), as one row of float32."""
    array = weight.detach().float().numpy().reshape(len(weight), -1)
    return np.ascontiguousarray(array[groups_of(len(weight))].transpose(0, 2, 1)).reshape(-1)


def out_of_groups(values: Array, num_channels: int) -> Array:
    """Return (..., L, 16) as (..., C)."""
    return values.reshape(*values.shape[:-2], -1)[..., _first_seen(num_channels)]


@cache
def _first_seen(num_channels: int) -> NDArray[np.intp]:
    """Return where each channel stands first in `groups_of`."""
    return np.unique(groups_of(num_channels).reshape(-1), return_index=True)[1]


def convolve(
    x: Tensor, before: Affine | None, before_act: str, weight: Tensor, window: Window
) -> tuple[Tensor, Moments]:
    """Return the depthwise convolution of act(norm(x)), in x's type, and its moments."""
    num_channels = len(weight)
    out_size = torch.Size((len(x), num_channels, window.out_height, window.out_width))
    z = torch.empty(out_size, dtype=x.dtype, memory_format=torch.channels_last)
    near, sums = launch(
        convolve_kernel, positions(x).reshape(-1), *x.shape[2:], _table(before, num_channels), *ACTIVATIONS[before_act],
        in_groups(weight), *window[:4], num_channels, positions(z).reshape(-1), *z.shape[2:],
    )  # fmt: skip
    near = out_of_groups(near.reshape(len(near), -1, WIDTH), num_channels)
    sums = out_of_groups(sums.reshape(len(sums), 2, -1, WIDTH), num_channels)
    counts = np.diff(len(x) * np.arange(len(near) + 1) // len(near)) * z[0, 0].numel()
    parts = [
        Moments.from_sums(*each) for each in zip(near.astype(np.float64), sums, counts.tolist(), strict=True) if each[2]
    ]
    return z, reduce(Moments.and_of, parts)


def _table(affine: Affine | None, num_channels: int) -> Array:
    if affine is None:
        return tables(1, np.ones(num_channels), np.zeros(num_channels), np.zeros(num_channels))
    return tables(1, affine.scale, affine.shift, affine.moments.mean)


class _Sandwich(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, z: Tensor, weight: Tensor, window: Window, before: Affine | None, before_act: str,
        after: Affine, after_act: str, *norm_parameters: Tensor,
    ) -> Tensor:  # fmt: skip
        ctx.save_for_backward(x, z, weight)
        ctx.window, ctx.before, ctx.before_act, ctx.after, ctx.after_act = window, before, before_act, after, after_act
        y = torch.empty_like(z)
        apply_affine(positions(z), after, after_act, positions(y))
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, z, weight = ctx.saved_tensors
        before, after = ctx.before, ctx.after
        g, z_there, x_there = positions(channels_last(grad)), positions(z), positions(x)
        after_sums = slope_sums(g, z_there, after, ctx.after_act)
        size, stride, top, left = ctx.window[:4]
        dx = torch.empty_like(x)
        dx_there, num_channels = positions(dx), len(weight)
        z_table = tables(1, after.moments.mean, after.scale, after.shift, *after.back(after_sums))
        sums, dw = launch(
            convolve_back, g.reshape(-1), z_there.reshape(-1), *z.shape[2:], z_table, *ACTIVATIONS[ctx.after_act],
            x_there.reshape(-1), *x.shape[2:], _table(before, num_channels), *ACTIVATIONS[ctx.before_act],
            in_groups(weight), size, stride, top, left, num_channels, dx_there.reshape(-1),
        )  # fmt: skip
        gradients = list(after.gradients(after_sums))
        if before is not None:
            before_sums = out_of_groups(sums.sum(0).reshape(2, -1, WIDTH), num_channels)
            gradients = [*before.gradients(before_sums), *gradients]
            undo_norm(dx_there, x_there, before, before_sums)
        by_tap = out_of_groups(dw.sum(0).reshape(-1, size * size, WIDTH).transpose(1, 0, 2), num_channels)
        d_weight = torch.from_numpy(by_tap.T.reshape(weight.shape).astype(np.float32))
        return dx, None, d_weight, *5 * (None,), *(torch.from_numpy(g) for g in gradients)


def norm_depthwise(
    x: Tensor,
    before: nn.BatchNorm2d | None,
    before_act: str,
    weight: Tensor,
    window: Window,
    after: nn.BatchNorm2d,
    after_act: str,
) -> Tensor:
    """Return after_act(after(depthwise(before_act(before(x))))). Norms in training take up the batch."""
    x = channels_last(x)
    norms = [after] if before is None else [before, after]
    affine = None
    if before is not None:
        if before.training:
            refuse_single(x.shape)
        affine = Affine.of(before, lambda: Moments.of(positions(x)))
    if after.training:
        refuse_single(torch.Size((len(x), len(weight), window.out_height, window.out_width)))
    z, moments = convolve(x, affine, before_act, weight, window)
    parameters = [parameter for norm in norms for parameter in (norm.weight, norm.bias)]
    after_affine = Affine.of(after, lambda: moments)
    y: Tensor = _Sandwich.apply(x, z, weight, window, affine, before_act, after_affine, after_act, *parameters)
    return y
