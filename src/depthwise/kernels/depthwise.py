"""Forward of a depthwise convolution that stands between two batch norms, sixteen channels at a time.

The norm before and its activation are applied row by row into a ring of K rows, from which come the outputs, and the
sums that the norm behind needs. One tensor is read and one written; PyTorch reads three and writes three.
"""

from typing import Any

import numpy as np
from numba import prange

from depthwise.kernels.lanes import WIDTH, add_to, fma, load, store, zero
from depthwise.kernels.norm import LANES
from depthwise.kernels.numbers import activate, inline
from depthwise.kernels.threads import kernel

F = np.float32


@inline
def _redo(kind: Any, low: Any, high: Any, x: Any, at: Any, num: Any, step: Any, table: Any, c: Any,
          rows: Any, to: Any) -> None:  # fmt: skip
    """Set `num` positions of a row to act(x * table[0] + table[1])."""
    scale, shift = load(table, c), load(table, LANES + c)
    for _ in range(num):
        store(rows, to, activate(kind, low, high, load(x, at) * scale + shift))
        at, to = at + step, to + WIDTH


@inline
def redo_kind(kind: Any, low: Any, high: Any, x: Any, at: Any, num: Any, step: Any, table: Any, c: Any,
              rows: Any, to: Any) -> None:  # fmt: skip
    """Choose the formula outside of the loop."""
    if kind == 0:
        _redo(0, low, high, x, at, num, step, table, c, rows, to)
    elif kind == 1:
        _redo(1, low, high, x, at, num, step, table, c, rows, to)
    else:
        _redo(2, low, high, x, at, num, step, table, c, rows, to)


@inline
def clear(row: Any, begin: Any, num: Any) -> None:
    """Set `num` positions of a row to zero."""
    for _ in range(num):
        store(row, begin, zero())
        begin += WIDTH


@inline
def _sums3(rows: Any, p: Any, stride: Any, weights: Any, k: Any, row: Any, num: Any) -> None:
    """Add to `num` outputs what a row of inputs, from p on, gives them through a row of the kernel, 3 wide."""
    w0, w1, w2 = load(weights, k), load(weights, k + WIDTH), load(weights, k + 2 * WIDTH)
    q = 0
    if stride == 1:
        u0, u1 = load(rows, p), load(rows, p + WIDTH)
        for _ in range(num):
            u2 = load(rows, p + 2 * WIDTH)
            store(row, q, fma(u2, w2, fma(u1, w1, fma(u0, w0, load(row, q)))))
            u0, u1 = u1, u2
            p, q = p + WIDTH, q + WIDTH
    else:
        u0 = load(rows, p)
        for _ in range(num):
            u1, u2 = load(rows, p + WIDTH), load(rows, p + 2 * WIDTH)
            store(row, q, fma(u2, w2, fma(u1, w1, fma(u0, w0, load(row, q)))))
            u0 = u2
            p, q = p + 2 * WIDTH, q + WIDTH


@inline
def _sums5(rows: Any, p: Any, stride: Any, weights: Any, k: Any, row: Any, num: Any) -> None:
    """The same, 5 wide."""
    w0, w1, w2 = load(weights, k), load(weights, k + WIDTH), load(weights, k + 2 * WIDTH)
    w3, w4 = load(weights, k + 3 * WIDTH), load(weights, k + 4 * WIDTH)
    q = 0
    for _ in range(num):
        first = fma(load(rows, p), w0, load(row, q))
        second = fma(load(rows, p + 2 * WIDTH), w2, load(rows, p + WIDTH) * w1)
        third = fma(load(rows, p + 4 * WIDTH), w4, load(rows, p + 3 * WIDTH) * w3)
        store(row, q, first + (second + third))
        p, q = p + stride * WIDTH, q + WIDTH


@inline
def _sums(size: Any, stride: Any, rows: Any, p: Any, weights: Any, k: Any, row: Any, num: Any) -> None:
    if size == 3 and stride == 1:
        _sums3(rows, p, 1, weights, k, row, num)
    elif size == 3:
        _sums3(rows, p, 2, weights, k, row, num)
    else:
        _sums5(rows, p, stride, weights, k, row, num)


@inline
def _mean(row: Any, num: Any) -> Any:
    total, q = zero(), 0
    for _ in range(num):
        total, q = total + load(row, q), q + WIDTH
    return total * (F(1) / F(num))


@inline
def _emit(row: Any, num: Any, z: Any, at: Any, step: Any, near: Any, sums: Any, to: Any, n: Any) -> None:
    """Store a row of outputs, and add d and d * d of what was stored to the sums, d = z - near."""
    total, squares, shift = zero(), zero(), load(near, to)
    q = 0
    for _ in range(num):
        store(z, at, load(row, q))
        d = load(z, at) - shift
        total, squares = total + d, fma(d, d, squares)
        at, q = at + step, q + WIDTH
    add_to(sums, to, total)
    add_to(sums, to + n, squares)


@kernel
def convolve(
    x: Any, height: int, width: int, table: Any, kind: int, low: Any, high: Any,
    weights: Any, size: int, stride: int, top: int, left: int, num_channels: int,
    z: Any, out_height: int, out_width: int, num_parts: int,
) -> Any:  # fmt: skip
    """Set z (B OH OW C) to the depthwise convolution of act(x * table[0] + table[1]), for x (B H W C).

    `weights`: see `convolve_back`. Returns per part of the batch values near the mean of its z, (parts, L 16), and the
    sums of d and of d * d, d = z - near, (parts, 2 L 16).
    """
    images, groups = len(x) // (height * width * num_channels), len(weights) // (size * size * WIDTH)
    pitch = (left + max(width, (out_width - 1) * stride + size - left)) * WIDTH
    near = np.zeros((num_parts, groups * WIDTH), F)
    sums = np.zeros((num_parts, 2 * groups * WIDTH), np.float64)
    for t in prange(num_parts):
        rows, row = np.zeros(size * groups * pitch, F), np.zeros(out_width * WIDTH, F)
        shift, total = near[t], sums[t]
        first = images * t // num_parts
        for image in range(first, images * (t + 1) // num_parts):
            taken = 0
            for out in range(out_height):
                above = out * stride - top
                while taken < min(above + size, height):
                    at = (image * height + taken) * width * num_channels
                    for b in range(groups):
                        c = min(b * WIDTH, num_channels - WIDTH)
                        to = (taken % size * groups + b) * pitch + left * WIDTH
                        redo_kind(kind, low, high, x, at + c, width, num_channels, table, c, rows, to)
                    taken += 1
                at = (image * out_height + out) * out_width * num_channels
                for b in range(groups):
                    c = min(b * WIDTH, num_channels - WIDTH)
                    clear(row, 0, out_width)
                    for kh in range(max(0, -above), min(size, height - above)):
                        p = ((above + kh) % size * groups + b) * pitch
                        _sums(size, stride, rows, p, weights, (b * size + kh) * size * WIDTH, row, out_width)
                    if image == first and out == 0:
                        store(shift, b * WIDTH, _mean(row, out_width))
                    _emit(row, out_width, z, at + c, num_channels, shift, total, b * WIDTH, groups * WIDTH)
    return near, sums
