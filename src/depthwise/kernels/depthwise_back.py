"""Backward of a depthwise convolution that stands between two batch norms, sixteen channels at a time.

PyTorch undoes the norm behind it, then the convolution, then the activation before it: five tensors written and read
back. Here the next norm's gradient is formed row by row into a ring of K rows, and each row of inputs meets the rows of
it that it had a share in: this gives the weights' gradient, the input's through its activation, and the sums that the
norm before needs. Three tensors are read, one is written; a row of sixteen channels stays in the first cache.

oneDNN's backward of a 5x5 kernel or of stride 2 takes 10 to 100 times as long as its forward.
"""

from typing import Any

import numpy as np
from numba import prange

from depthwise.kernels.depthwise import clear, redo_kind
from depthwise.kernels.lanes import WIDTH, add_to, fma, load, store, zero
from depthwise.kernels.norm import LANES
from depthwise.kernels.numbers import inline, slope
from depthwise.kernels.threads import kernel

F = np.float32


@inline
def _undo(kind: Any, low: Any, high: Any, g: Any, z: Any, at: Any, num: Any, step: Any, table: Any, c: Any,
          back: Any, to: Any) -> None:  # fmt: skip
    """Set `num` positions of a ring's row to the gradient before the next norm, by norm.undo's table."""
    mean, scale, shift = load(table, c), load(table, LANES + c), load(table, 2 * LANES + c)
    by_gradient, by_value, rest = load(table, 3 * LANES + c), load(table, 4 * LANES + c), load(table, 5 * LANES + c)
    for _ in range(num):
        v = load(z, at)
        u = load(g, at) * slope(kind, low, high, v * scale + shift)
        store(back, to, u * by_gradient + ((v - mean) * by_value + rest))
        at, to = at + step, to + WIDTH


@inline
def _undo_kind(kind: Any, low: Any, high: Any, g: Any, z: Any, at: Any, num: Any, step: Any, table: Any, c: Any,
               back: Any, to: Any) -> None:  # fmt: skip
    if kind == 0:
        _undo(0, low, high, g, z, at, num, step, table, c, back, to)
    elif kind == 1:
        _undo(1, low, high, g, z, at, num, step, table, c, back, to)
    else:
        _undo(2, low, high, g, z, at, num, step, table, c, back, to)


@inline
def _finish(kind: Any, low: Any, high: Any, x: Any, at: Any, num: Any, step: Any, table: Any, c: Any,
            grads: Any, dx: Any, sums: Any, to: Any, n: Any) -> None:  # fmt: skip
    """Store a row of gradients before the activation, and add it to the sums of g and g (x - mean)."""
    scale, shift, mean = load(table, c), load(table, LANES + c), load(table, 2 * LANES + c)
    total, product = zero(), zero()
    q = WIDTH
    for _ in range(num):
        v = load(x, at)
        g = load(grads, q) * slope(kind, low, high, v * scale + shift)
        store(dx, at, g)
        total, product = total + g, fma(g, v - mean, product)
        at, q = at + step, q + WIDTH
    add_to(sums, to, total)
    add_to(sums, to + n, product)


@inline
def _finish_kind(kind: Any, low: Any, high: Any, x: Any, at: Any, num: Any, step: Any, table: Any, c: Any,
                 grads: Any, dx: Any, sums: Any, to: Any, n: Any) -> None:  # fmt: skip
    if kind == 0:
        _finish(0, low, high, x, at, num, step, table, c, grads, dx, sums, to, n)
    elif kind == 1:
        _finish(1, low, high, x, at, num, step, table, c, grads, dx, sums, to, n)
    else:
        _finish(2, low, high, x, at, num, step, table, c, grads, dx, sums, to, n)


@inline
def _taps3(back: Any, p: Any, weights: Any, k: Any, dw: Any, row: Any, grads: Any, q: Any, num: Any) -> None:
    """Let a row of inputs meet a row of the outputs' gradients through a row of the kernel, 3 wide, at stride 1.

    p, q: where `num` outputs and inputs begin; k: where the row of weights, and of their gradients, does.
    """
    w0, w1, w2 = load(weights, k), load(weights, k + WIDTH), load(weights, k + 2 * WIDTH)
    d0, d1, d2 = load(dw, k), load(dw, k + WIDTH), load(dw, k + 2 * WIDTH)
    u1, u2 = load(back, p - WIDTH), load(back, p - 2 * WIDTH)
    for _ in range(num):
        u0, x = load(back, p), load(row, q)
        store(grads, q, fma(u2, w2, fma(u1, w1, fma(u0, w0, load(grads, q)))))
        d0, d1, d2 = fma(u0, x, d0), fma(u1, x, d1), fma(u2, x, d2)
        u2, u1 = u1, u0
        p, q = p + WIDTH, q + WIDTH
    store(dw, k, d0)
    store(dw, k + WIDTH, d1)
    store(dw, k + 2 * WIDTH, d2)


@inline
def _taps3_by_2(back: Any, p: Any, weights: Any, k: Any, dw: Any, row: Any, grads: Any, q: Any, num: Any) -> None:
    """The same at stride 2, where two neighbouring inputs meet different taps."""
    w0, w1, w2 = load(weights, k), load(weights, k + WIDTH), load(weights, k + 2 * WIDTH)
    d0, d1, d2 = load(dw, k), load(dw, k + WIDTH), load(dw, k + 2 * WIDTH)
    u1 = load(back, p - WIDTH)
    for _ in range(num):
        u0, x, y = load(back, p), load(row, q), load(row, q + WIDTH)
        store(grads, q, fma(u1, w2, fma(u0, w0, load(grads, q))))
        store(grads, q + WIDTH, fma(u0, w1, load(grads, q + WIDTH)))
        d0, d1, d2 = fma(u0, x, d0), fma(u0, y, d1), fma(u1, x, d2)
        u1 = u0
        p, q = p + WIDTH, q + 2 * WIDTH
    store(dw, k, d0)
    store(dw, k + WIDTH, d1)
    store(dw, k + 2 * WIDTH, d2)


@inline
def _taps5(back: Any, p: Any, weights: Any, k: Any, dw: Any, row: Any, grads: Any, q: Any, num: Any) -> None:
    """The same, 5 wide, at stride 1."""
    w0, w1, w2 = load(weights, k), load(weights, k + WIDTH), load(weights, k + 2 * WIDTH)
    w3, w4 = load(weights, k + 3 * WIDTH), load(weights, k + 4 * WIDTH)
    d0, d1, d2 = load(dw, k), load(dw, k + WIDTH), load(dw, k + 2 * WIDTH)
    d3, d4 = load(dw, k + 3 * WIDTH), load(dw, k + 4 * WIDTH)
    u1, u2, u3, u4 = (
        load(back, p - WIDTH), load(back, p - 2 * WIDTH), load(back, p - 3 * WIDTH), load(back, p - 4 * WIDTH),
    )  # fmt: skip
    for _ in range(num):
        u0, x = load(back, p), load(row, q)
        first = fma(u2, w2, fma(u1, w1, fma(u0, w0, load(grads, q))))
        store(grads, q, fma(u4, w4, fma(u3, w3, first)))
        d0, d1, d2 = fma(u0, x, d0), fma(u1, x, d1), fma(u2, x, d2)
        d3, d4 = fma(u3, x, d3), fma(u4, x, d4)
        u4, u3, u2, u1 = u3, u2, u1, u0
        p, q = p + WIDTH, q + WIDTH
    store(dw, k, d0)
    store(dw, k + WIDTH, d1)
    store(dw, k + 2 * WIDTH, d2)
    store(dw, k + 3 * WIDTH, d3)
    store(dw, k + 4 * WIDTH, d4)


@inline
def _taps5_by_2(back: Any, p: Any, weights: Any, k: Any, dw: Any, row: Any, grads: Any, q: Any, num: Any) -> None:
    """The same, 5 wide, at stride 2."""
    w0, w1, w2 = load(weights, k), load(weights, k + WIDTH), load(weights, k + 2 * WIDTH)
    w3, w4 = load(weights, k + 3 * WIDTH), load(weights, k + 4 * WIDTH)
    d0, d1, d2 = load(dw, k), load(dw, k + WIDTH), load(dw, k + 2 * WIDTH)
    d3, d4 = load(dw, k + 3 * WIDTH), load(dw, k + 4 * WIDTH)
    u1, u2 = load(back, p - WIDTH), load(back, p - 2 * WIDTH)
    for _ in range(num):
        u0, x, y = load(back, p), load(row, q), load(row, q + WIDTH)
        store(grads, q, fma(u2, w4, fma(u1, w2, fma(u0, w0, load(grads, q)))))
        store(grads, q + WIDTH, fma(u1, w3, fma(u0, w1, load(grads, q + WIDTH))))
        d0, d2, d4 = fma(u0, x, d0), fma(u1, x, d2), fma(u2, x, d4)
        d1, d3 = fma(u0, y, d1), fma(u1, y, d3)
        u2, u1 = u1, u0
        p, q = p + WIDTH, q + 2 * WIDTH
    store(dw, k, d0)
    store(dw, k + WIDTH, d1)
    store(dw, k + 2 * WIDTH, d2)
    store(dw, k + 3 * WIDTH, d3)
    store(dw, k + 4 * WIDTH, d4)


@inline
def _taps(size: Any, stride: Any, back: Any, p: Any, weights: Any, k: Any, dw: Any, row: Any, grads: Any, q: Any,
          num: Any) -> None:  # fmt: skip
    if size == 3 and stride == 1:
        _taps3(back, p, weights, k, dw, row, grads, q, num)
    elif size == 3:
        _taps3_by_2(back, p, weights, k, dw, row, grads, q, num)
    elif stride == 1:
        _taps5(back, p, weights, k, dw, row, grads, q, num)
    else:
        _taps5_by_2(back, p, weights, k, dw, row, grads, q, num)


@kernel
def convolve_back(
    g: Any, z: Any, out_height: int, out_width: int, z_table: Any, z_kind: int, z_low: Any, z_high: Any,
    x: Any, height: int, width: int, table: Any, kind: int, low: Any, high: Any,
    weights: Any, size: int, stride: int, top: int, left: int, num_channels: int, dx: Any, num_parts: int,
) -> Any:  # fmt: skip
    """Undo the norm and activation behind a depthwise convolution, it, and the activation before it.

    g: gradient behind them, z: the convolution's output, both (B OH OW C), with the table of `norm.undo`. x: what the
    norm before took, (B H W C), of at least 16 channels; its table has scale, shift and mean. Sets dx to the gradient
    before x's activation. `weights` are (L, K K, 16), L groups of sixteen channels, the last of which begins at C - 16.

    Returns the sums of that gradient and of it times (x - mean), (parts, 2 L 16), and the gradient of the weights,
    (parts, L K K 16).
    """
    images, groups = len(x) // (height * width * num_channels), len(weights) // (size * size * WIDTH)
    first = left // stride
    num = (width - 1 + left) // stride - first + 1
    pitch = (size + max(out_width, first + num)) * WIDTH
    sums = np.zeros((num_parts, 2 * groups * WIDTH), np.float64)
    gradients = np.zeros((num_parts, len(weights)), np.float64)
    for t in prange(num_parts):
        back, dw = np.zeros(size * groups * pitch, F), np.zeros(len(weights), F)
        row, grads = np.zeros((width + 2) * WIDTH, F), np.zeros((width + 2) * WIDTH, F)
        total, gradient = sums[t], gradients[t]
        for image in range(images * t // num_parts, images * (t + 1) // num_parts):
            taken = 0
            for i in range(height):
                while taken < min((i + top) // stride + 1, out_height):
                    at = (image * out_height + taken) * out_width * num_channels
                    for b in range(groups):
                        c = min(b * WIDTH, num_channels - WIDTH)
                        to = (taken % size * groups + b) * pitch + size * WIDTH
                        _undo_kind(z_kind, z_low, z_high, g, z, at + c, out_width, num_channels, z_table, c, back, to)
                    taken += 1
                at = (image * height + i) * width * num_channels
                for b in range(groups):
                    c = min(b * WIDTH, num_channels - WIDTH)
                    redo_kind(kind, low, high, x, at + c, width, num_channels, table, c, row, WIDTH)
                    clear(grads, WIDTH, width)
                    for kh in range(size):
                        out = i + top - kh
                        if out >= 0 and out % stride == 0 and out // stride < out_height:
                            p = (out // stride % size * groups + b) * pitch + (size + first) * WIDTH
                            q = (first * stride - left + 1) * WIDTH
                            k = (b * size + kh) * size * WIDTH
                            _taps(size, stride, back, p, weights, k, dw, row, grads, q, num)
                    _finish_kind(
                        kind, low, high, x, at + c, width, num_channels, table, c, grads, dx,
                        total, b * WIDTH, groups * WIDTH,
                    )  # fmt: skip
            for k in range(0, len(dw), WIDTH):
                add_to(gradient, k, load(dw, k))
                store(dw, k, zero())
    return sums, gradients
