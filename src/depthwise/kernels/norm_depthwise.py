"""act(norm(depthwise(act(norm(x))))) as one differentiable function, over the kernels of `depthwise`."""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from depthwise.kernels import depthwise as kernels
from depthwise.kernels.lanes import WIDTH
from depthwise.kernels.norm import tables
from depthwise.kernels.norm_act import (
    Affine,
    Moments,
    apply_affine,
    channels_last,
    positions,
    slope_sums,
    track,
    undo_affine,
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


def rows(x: Tensor) -> Array:
    """Return the memory of channels-last (B, C, H, W) as (B H, W, C)."""
    return positions(x).reshape(-1, x.shape[3], x.shape[1])


def mirrored(weight: Tensor) -> Array:
    """Return weights (C, 1, K, K), each row of the kernel from right to left, as float32 (K K, whole lanes)."""
    num_channels = len(weight)
    array = weight.detach().float().numpy()[:, 0, :, ::-1].reshape(num_channels, -1).T
    return np.pad(array, ((0, 0), (0, -num_channels % WIDTH)))


def convolve(x: Tensor, weight: Tensor, window: Window) -> Tensor:
    """Return the depthwise convolution of x, by oneDNN."""
    size, stride, top, left, out_height, out_width = window
    bottom, right = (
        (out_height - 1) * stride + size - x.shape[2] - top,
        (out_width - 1) * stride + size - x.shape[3] - left,
    )
    padding: tuple[int, int] = (top, left)
    if bottom > top or right > left:
        x, padding = functional.pad(x, (left, right, top, bottom)), (0, 0)
    y = functional.conv2d(x, weight.to(x.dtype), None, stride, padding, 1, len(weight))
    return channels_last(y)


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
        return apply_affine(z, after, after_act)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, z, weight = ctx.saved_tensors
        before, after = ctx.before, ctx.after
        grad = channels_last(grad)
        after_sums = slope_sums(grad, z, after, ctx.after_act)
        size, stride, top, left, out_height, _ = ctx.window
        dx = torch.empty_like(x)
        z_table = tables(1, after.moments.mean, after.scale, after.shift, *after.back(after_sums))
        sums, dw = launch(
            kernels.convolve_back, rows(grad), rows(z), out_height, z_table, *ACTIVATIONS[ctx.after_act],
            rows(x), x.shape[2], _table(before, x.shape[1]), *ACTIVATIONS[ctx.before_act],
            mirrored(weight), size, stride, top, left, rows(dx),
        )  # fmt: skip
        gradients = list(after.gradients(after_sums))
        if before is not None:
            before_sums = sums.sum(0)
            gradients = [*before.gradients(before_sums), *gradients]
            dx, _ = undo_affine(dx, x, before, "none", before_sums)
        d_weight = torch.from_numpy(dw.sum(0)[:, : len(weight)].T.reshape(weight.shape).astype(np.float32))
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
    """Return after_act(after(depthwise(before_act(before(x))))) for norms in training; both take up the batch."""
    x = channels_last(x)
    norms = [after] if before is None else [before, after]
    with torch.no_grad():
        affine = None
        if before is not None:
            moments = Moments.of(x)
            track(before, moments)
            affine = Affine.of(moments, before.weight, before.bias, before.eps)
        z = convolve(x if affine is None else apply_affine(x, affine, before_act), weight, window)
        moments = Moments.of(z)
        track(after, moments)
    parameters = [parameter for norm in norms for parameter in (norm.weight, norm.bias)]
    after_affine = Affine.of(moments, after.weight, after.bias, after.eps)
    y: Tensor = _Sandwich.apply(x, z, weight, window, affine, before_act, after_affine, after_act, *parameters)
    return y
