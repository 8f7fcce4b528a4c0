"""Backward of a depthwise convolution that stands between two batch norms, over float32 rows that stay in the cache.

PyTorch undoes the norm behind it, then the convolution, then the activation before it: five tensors written and read
back. Here the next norm's gradient is formed row by row, and so is the activated input, again; from rings of K rows of
each come the weights' gradient, the input's through its activation, and the sums that the norm before needs: three
tensors are read, one is written.

oneDNN's backward of a 5x5 kernel or of stride 2 takes 10 to 100 times as long as its forward. Its forward is better than
what numba makes of the same loops, and stays.
"""

from typing import Any

import numpy as np
from numba import prange

from depthwise.kernels.norm import LANES
from depthwise.kernels.numbers import activate, inline, narrow, slope, widen
from depthwise.kernels.threads import kernel

F = np.float32


@inline
def _load(kind: Any, low: Any, high: Any, x: Any, i: Any, table: Any, rows: Any, slot: Any, halo: Any) -> None:
    """Set a ring's row to act(x * table[0] + table[1]) from position `halo` on."""
    for w in range(x.shape[1]):
        for c in range(x.shape[2]):
            rows[slot, halo + w, c] = activate(kind, low, high, widen(x[i, w, c]) * table[c] + table[LANES + c])


@inline
def _load_kind(kind: Any, low: Any, high: Any, x: Any, i: Any, table: Any, rows: Any, slot: Any, halo: Any) -> None:
    if kind == 0:
        _load(0, low, high, x, i, table, rows, slot, halo)
    elif kind == 1:
        _load(1, low, high, x, i, table, rows, slot, halo)
    else:
        _load(2, low, high, x, i, table, rows, slot, halo)


@inline
def _add_taps(out: Any, o: Any, rows: Any, slot: Any, first: Any, weights: Any, k: Any, size: Any, is_new: Any) -> None:
    """Add (or set) out[o] from `size` neighbouring positions of a row, the first at `first`, by weights[k:]."""
    n = out.shape[1]
    if size == 3:
        for c in range(n):
            v = (
                rows[slot, first, c] * weights[k, c]
                + rows[slot, first + 1, c] * weights[k + 1, c]
                + rows[slot, first + 2, c] * weights[k + 2, c]
            )
            out[o, c] = v if is_new else out[o, c] + v
        return
    for c in range(n):
        v = (
            rows[slot, first, c] * weights[k, c]
            + rows[slot, first + 1, c] * weights[k + 1, c]
            + rows[slot, first + 2, c] * weights[k + 2, c]
            + rows[slot, first + 3, c] * weights[k + 3, c]
            + rows[slot, first + 4, c] * weights[k + 4, c]
        )
        out[o, c] = v if is_new else out[o, c] + v


@inline
def _load_back(
    kind: Any, low: Any, high: Any, g: Any, z: Any, i: Any, table: Any, rows: Any, slot: Any, halo: Any, stride: Any
) -> None:
    """Set every stride-th position of a ring's row to the gradient before the next norm; see norm.undo for the table."""
    for w in range(g.shape[1]):
        at = halo + w * stride
        for c in range(g.shape[2]):
            v = widen(z[i, w, c])
            u = widen(g[i, w, c]) * slope(kind, low, high, v * table[LANES + c] + table[2 * LANES + c])
            rows[slot, at, c] = u * table[3 * LANES + c] + (
                (v - table[c]) * table[4 * LANES + c] + table[5 * LANES + c]
            )


@inline
def _load_back_kind(
    kind: Any, low: Any, high: Any, g: Any, z: Any, i: Any, table: Any, rows: Any, slot: Any, halo: Any, stride: Any
) -> None:
    if kind == 0:
        _load_back(0, low, high, g, z, i, table, rows, slot, halo, stride)
    elif kind == 1:
        _load_back(1, low, high, g, z, i, table, rows, slot, halo, stride)
    else:
        _load_back(2, low, high, g, z, i, table, rows, slot, halo, stride)


@inline
def _add_weight_gradient(
    dw: Any, k: Any, back: Any, b: Any, halo: Any, rows: Any, r: Any, first: Any, stride: Any, width: Any
) -> None:
    """Add to dw[k] the products of a row of gradients with the positions of a row of inputs that it met there."""
    n = dw.shape[1]
    quads = width // 4 * 4
    for o in range(0, quads, 4):
        p, q = halo + o * stride, first + o * stride
        for c in range(n):
            dw[k, c] += (
                back[b, p, c] * rows[r, q, c]
                + back[b, p + stride, c] * rows[r, q + stride, c]
                + back[b, p + 2 * stride, c] * rows[r, q + 2 * stride, c]
                + back[b, p + 3 * stride, c] * rows[r, q + 3 * stride, c]
            )
    for o in range(quads, width):
        p, q = halo + o * stride, first + o * stride
        for c in range(n):
            dw[k, c] += back[b, p, c] * rows[r, q, c]


@inline
def _gather_row(
    out: Any, back: Any, i: Any, out_height: Any, weights: Any, size: Any, stride: Any, top: Any, first: Any
) -> None:
    """Set row i of the input's gradient: the gradients of all outputs that it went into, by mirrored weights."""
    for w in range(len(out)):
        is_new = True
        for kh in range(size):
            reach = i + top - kh
            if reach >= 0 and reach % stride == 0 and reach // stride < out_height:
                _add_taps(out, w, back, (reach // stride) % size, first + w, weights, kh * size, size, is_new)
                is_new = False
        if is_new:
            for c in range(out.shape[1]):
                out[w, c] = F(0)


@inline
def _store_slopes(kind: Any, low: Any, high: Any, row: Any, x: Any, dx: Any, i: Any, table: Any, partial: Any) -> None:
    """Store a row of gradients before the activation, and add it to the sums of g and g (x - mean)."""
    for w in range(len(row)):
        for c in range(row.shape[1]):
            v = widen(x[i, w, c])
            g = row[w, c] * slope(kind, low, high, v * table[c] + table[LANES + c])
            dx[i, w, c] = narrow(g, dx.dtype)
            partial[c] += g
            partial[LANES + c] += g * (v - table[2 * LANES + c])


@inline
def _store_slopes_kind(
    kind: Any, low: Any, high: Any, row: Any, x: Any, dx: Any, i: Any, table: Any, partial: Any
) -> None:
    if kind == 0:
        _store_slopes(0, low, high, row, x, dx, i, table, partial)
    elif kind == 1:
        _store_slopes(1, low, high, row, x, dx, i, table, partial)
    else:
        _store_slopes(2, low, high, row, x, dx, i, table, partial)


@kernel
def convolve_back(
    g: Any, z: Any, out_height: int, z_table: Any, z_kind: int, z_low: Any, z_high: Any,
    x: Any, height: int, table: Any, kind: int, low: Any, high: Any,
    weights: Any, mirrored: Any, size: int, stride: int, top: int, left: int, dx: Any, num_parts: int,
) -> Any:  # fmt: skip
    """Undo `convolve`, the norm and the activation behind it, and the activation before it.

    g: gradient behind them, z: the convolution's output, both (B OH, OW, C), with the table of `norm.undo`. Sets dx to
    the gradient before x's activation. Returns sums (parts, 2, C) of it and of it times (x - table[2]), and the
    weights' gradient (parts, K K, C).
    """
    width, out_width, n = x.shape[1], g.shape[1], x.shape[2]
    images = len(x) // height
    sums = np.zeros((num_parts, 2, n), np.float64)
    gradients = np.zeros((num_parts, size * size, n), np.float64)
    for t in prange(num_parts):
        length = max(width, out_width * stride) + 2 * size
        rows, back = np.zeros((size, length + size, n), F), np.zeros((size, length + size, n), F)
        row, dw, partial = np.empty((width, n), F), np.zeros((size * size, n), F), np.zeros(2 * LANES, F)
        for image in range(images * t // num_parts, images * (t + 1) // num_parts):
            loaded, taken = 0, 0
            for i in range(height):
                while taken < min((i + top) // stride + 1, out_height):
                    first = taken * stride - top
                    while loaded < min(first + size, height):
                        _load_kind(kind, low, high, x, image * height + loaded, table, rows, loaded % size, size)
                        loaded += 1
                    at = image * out_height + taken
                    _load_back_kind(z_kind, z_low, z_high, g, z, at, z_table, back, taken % size, size, stride)
                    for kh in range(size):
                        if 0 <= first + kh < height:
                            for kw in range(size):
                                _add_weight_gradient(
                                    dw, kh * size + kw, back, taken % size, size, rows, (first + kh) % size,
                                    size - left + kw, stride, out_width,
                                )  # fmt: skip
                    taken += 1
                _gather_row(row, back, i, out_height, mirrored, size, stride, top, size + left - (size - 1))
                _store_slopes_kind(kind, low, high, row, x, dx, image * height + i, table, partial)
                for c in range(n):
                    sums[t, 0, c] += partial[c]
                    sums[t, 1, c] += partial[LANES + c]
                    partial[c] = F(0)
                    partial[LANES + c] = F(0)
            for k in range(size * size):
                for c in range(n):
                    gradients[t, k, c] += dw[k, c]
                    dw[k, c] = F(0)
    return sums, gradients
