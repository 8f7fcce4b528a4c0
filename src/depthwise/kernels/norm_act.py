"""Batch norm, residual sum and activation as one differentiable function, over the kernels of `norm`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from depthwise.kernels import norm as kernels
from depthwise.kernels.numbers import ACTIVATIONS
from depthwise.kernels.threads import launch

Array = NDArray[Any]


def channels_last(x: Tensor) -> Tensor:
    """Return x (B, C, H, W) with its channels side by side in memory."""
    return x.contiguous(memory_format=torch.channels_last)


def positions(x: Tensor) -> Array:
    """Return the memory of channels-last (B, C, H, W) as (B H W, C): float32, or uint16 for bfloat16."""
    there = x.detach().permute(0, 2, 3, 1)
    array: Array = (there.view(torch.uint16) if x.dtype == torch.bfloat16 else there).numpy()
    return array.reshape(-1, array.shape[3])


def refuse_single(shape: torch.Size) -> None:
    """Raise ValueError, as PyTorch does, for a norm's input (B, C, H, W) of one number per channel."""
    if shape.numel() == shape[1]:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {shape}")


def values(parameter: Tensor) -> Array:
    """Return channel values as float64."""
    return parameter.detach().numpy().astype(np.float64)


class Moments(NamedTuple):
    """Of one batch, per channel, float64."""

    mean: Array
    variance: Array
    """Divided by the number of positions."""
    num_positions: int

    @classmethod
    def from_sums(cls, near: Array, sums: Array, num_positions: int) -> "Moments":
        """Return them from sums of d and d * d, d = x - near."""
        mean = sums[0] / num_positions
        return cls(near + mean, np.maximum(sums[1] / num_positions - mean * mean, 0), num_positions)

    def and_of(self, other: "Moments") -> "Moments":
        """Return the moments of both together (Chan, Golub and LeVeque 1983, eq. 1.5)."""
        count = self.num_positions + other.num_positions
        share = other.num_positions / count
        apart = other.mean - self.mean
        variance = self.variance * (1 - share) + other.variance * share + apart * apart * share * (1 - share)
        return Moments(self.mean + apart * share, variance, count)

    @classmethod
    def of(cls, flat: Array) -> "Moments":
        """Measure positions (M, C)."""
        repeats = kernels.num_repeats(*flat.shape)
        near = kernels.typical(flat).astype(np.float32)
        sums = launch(kernels.moments, kernels.in_rows(flat, repeats), kernels.tables(repeats, near))
        return cls.from_sums(near, kernels.fold(sums, flat.shape[1], repeats), len(flat))


class Affine(NamedTuple):
    """What a batch norm does to a batch, and what its backward needs; per channel, float64."""

    moments: Moments
    inverse: Array
    """1 / sqrt(variance + eps)."""
    scale: Array
    shift: Array
    is_measured: bool
    """Whether the moments are the batch's own, so that the loss depends on it through them, too."""

    @classmethod
    def of(cls, norm: nn.BatchNorm2d, measure: Callable[[], Moments]) -> "Affine":
        """Return what the norm does: in training by the batch's moments, which it takes up, else by those it has."""
        if norm.training:
            moments = measure()
            track(norm, moments)
        else:
            assert norm.running_mean is not None and norm.running_var is not None  # can_fuse has seen to it
            moments = Moments(values(norm.running_mean), values(norm.running_var), 0)
        inverse = 1 / np.sqrt(moments.variance + norm.eps)
        scale = values(norm.weight) * inverse
        return cls(moments, inverse, scale, values(norm.bias) - moments.mean * scale, norm.training)

    def gradients(self, sums: Array) -> tuple[Array, Array]:
        """Return those of weight and bias from sums of g and g (x - mean)."""
        return (sums[1] * self.inverse).astype(np.float32), sums[0].astype(np.float32)

    def back(self, sums: Array) -> tuple[Array, Array, Array]:
        """Return a, b, c of dx = g a + (x - mean) b + c."""
        if not self.is_measured:
            return self.scale, np.zeros_like(self.scale), np.zeros_like(self.scale)
        count = self.moments.num_positions
        return self.scale, -self.scale * self.inverse**2 * sums[1] / count, -self.scale * sums[0] / count


def track(norm: nn.BatchNorm2d, moments: Moments) -> None:
    """Update the running statistics as nn.BatchNorm2d does in training."""
    if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
        return
    norm.num_batches_tracked.add_(1)
    share = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    unbiased = moments.variance * (moments.num_positions / (moments.num_positions - 1))
    for running, batch in ((norm.running_mean, moments.mean), (norm.running_var, unbiased)):
        kept = running.numpy()
        kept[:] = kept * np.float32(1 - share) + (share * batch).astype(np.float32)


def apply_affine(flat: Array, affine: Affine, act: str, out: Array, residual: Array | None = None) -> None:
    """Set `out` to act(x * scale + shift (+ residual)); all are positions (M, C)."""
    repeats = kernels.num_repeats(*flat.shape)
    rows = (kernels.in_rows(a, repeats) for a in (flat, flat if residual is None else residual))
    table = kernels.tables(repeats, affine.scale, affine.shift)
    launch(kernels.normalise, *rows, residual is not None, table, *ACTIVATIONS[act], kernels.in_rows(out, repeats))


def slope_sums(grad: Array, flat: Array, affine: Affine, act: str, output: Array | None = None) -> Array:
    """Return sums (2, C) of g' and g' (x - mean), g' the gradient before the activation; all are positions (M, C).

    `output`: of an activation (ReLU) of more than the norm, which tells its slope in place of x.
    """
    repeats = kernels.num_repeats(*flat.shape)
    table, seen = _seen(affine, flat, output)
    rows = (kernels.in_rows(a, repeats) for a in (grad, flat, seen))
    sums = launch(kernels.slopes, *rows, kernels.tables(repeats, *table), *ACTIVATIONS[act])
    return kernels.fold(sums, flat.shape[1], repeats)


def undo_affine(
    grad: Array, flat: Array, affine: Affine, act: str, sums: Array, dx: Array,
    *, output: Array | None = None, dr: Array | None = None,
) -> None:  # fmt: skip
    """Set dx to the gradient of x, and dr to the residual's where the activation comes after the sum with it."""
    repeats = kernels.num_repeats(*flat.shape)
    table, seen = _seen(affine, flat, output)
    rows = (kernels.in_rows(a, repeats) for a in (grad, flat, seen))
    out = (kernels.in_rows(a, repeats) for a in (dx, dx if dr is None else dr))
    filled = kernels.tables(repeats, *table, *affine.back(sums))
    launch(kernels.undo, *rows, filled, *ACTIVATIONS[act], *out, dr is not None)


def undo_norm(grad: Array, flat: Array, affine: Affine, sums: Array) -> None:
    """Set grad, that behind a norm alone, to the gradient of the norm's input x. It must be the caller's own."""
    repeats = kernels.num_repeats(*flat.shape)
    table = kernels.tables(repeats, affine.moments.mean, *affine.back(sums))
    launch(kernels.undo_here, *(kernels.in_rows(a, repeats) for a in (grad, flat)), table)


def _seen(affine: Affine, flat: Array, output: Array | None) -> tuple[tuple[Array, ...], Array]:
    """Return what tells the activation's slope: x through the norm, or the output itself, which suffices for ReLU."""
    mean = affine.moments.mean
    if output is None:
        return (mean, affine.scale, affine.shift), flat
    return (mean, np.ones_like(mean), np.zeros_like(mean)), output


class _NormAct(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, residual: Tensor | None, affine: Affine, act: str,
        flat: Array,
    ) -> Tensor:  # fmt: skip
        y = torch.empty_like(x)
        apply_affine(flat, affine, act, positions(y), None if residual is None else positions(residual))
        is_hidden = residual is not None and act != "none"
        ctx.save_for_backward(x, *((y,) if is_hidden else ()))
        ctx.affine, ctx.act, ctx.has_residual = affine, act, residual is not None
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, *outputs = ctx.saved_tensors
        affine, act, grad = ctx.affine, ctx.act, channels_last(grad)
        g, flat, output = positions(grad), positions(x), positions(outputs[0]) if outputs else None
        sums = slope_sums(g, flat, affine, act, output)
        dx, dr = torch.empty_like(x), torch.empty_like(x) if outputs else None
        undo_affine(g, flat, affine, act, sums, positions(dx), output=output, dr=None if dr is None else positions(dr))
        if ctx.has_residual and dr is None:
            dr = grad
        weight, bias = (torch.from_numpy(values) for values in affine.gradients(sums))
        return dx, weight, bias, dr, None, None, None


def norm_act(x: Tensor, norm: nn.BatchNorm2d, act: str, residual: Tensor | None = None) -> Tensor:
    """Return act(norm(x) (+ residual)). In training the norm's running statistics take up the batch.

    With a residual, `act` is none, relu or relu6.
    """
    if norm.training:
        refuse_single(x.shape)
    x = channels_last(x)
    residual = None if residual is None else channels_last(residual)
    flat = positions(x)
    affine = Affine.of(norm, lambda: Moments.of(flat))
    y: Tensor = _NormAct.apply(x, norm.weight, norm.bias, residual, affine, act, flat)
    return y
