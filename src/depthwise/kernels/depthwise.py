"""Backward of a depthwise convolution that stands between two batch norms, over float32 rows that stay in the cache.

PyTorch undoes the norm behind it, then the convolution, then the activation before it: five tensors written and read
back. Here the next norm's gradient is formed row by row, and so is the activated input, again; from rings of K rows of
each come the weights' gradient, the input's through its activation, and the sums that the norm before needs: three
tensors are read, one is written.

oneDNN's backward of a 5x5 kernel or of stride 2 takes 10 to 100 times as long as its forward. Its forward is better
than what numba makes of the same loops, and stays.
"""

from typing import Any

import numpy as np
from numba import prange

from depthwise.kernels.lanes import WIDTH, add, fma, load, store, zero
from depthwise.kernels.norm import LANES, into_float64
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
def _load_back(
    kind: Any, low: Any, high: Any, g: Any, z: Any, i: Any, table: Any, rows: Any, slot: Any, halo: Any, stride: Any
) -> None:
    """Set every stride-th position of a ring's row to the gradient before the next norm, by norm.undo's table."""
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
    dw: Any, k: Any, back: Any, p: Any, rows: Any, q: Any, width: Any, step: Any, n: Any, size: Any
) -> None:
    """Add to dw[k:], a row of the kernel, the products of a row of gradients with the inputs that it met there.

    Sixteen channels; `p`, `q`: where the rows begin, `step` between inputs of neighbouring outputs, `n` of positions.
    """
    a, b, c = load(dw, k), load(dw, k + n), load(dw, k + 2 * n)
    if size == 3:
        d, e, f = zero(), zero(), zero()
        for _ in range(width // 2):
            u, v = load(back, p), load(back, p + step)
            a, b, c = fma(u, load(rows, q), a), fma(u, load(rows, q + n), b), fma(u, load(rows, q + 2 * n), c)
            r = q + step
            d, e, f = fma(v, load(rows, r), d), fma(v, load(rows, r + n), e), fma(v, load(rows, r + 2 * n), f)
            p, q = p + 2 * step, q + 2 * step
        if width % 2:
            u = load(back, p)
            a, b, c = fma(u, load(rows, q), a), fma(u, load(rows, q + n), b), fma(u, load(rows, q + 2 * n), c)
        a, b, c = add(a, d), add(b, e), add(c, f)
    else:
        d, e = load(dw, k + 3 * n), load(dw, k + 4 * n)
        for _ in range(width):
            u = load(back, p)
            a, b, c = fma(u, load(rows, q), a), fma(u, load(rows, q + n), b), fma(u, load(rows, q + 2 * n), c)
            d, e = fma(u, load(rows, q + 3 * n), d), fma(u, load(rows, q + 4 * n), e)
            p, q = p + step, q + step
        store(dw, k + 3 * n, d)
        store(dw, k + 4 * n, e)
    store(dw, k, a)
    store(dw, k + n, b)
    store(dw, k + 2 * n, c)


@inline
def _shares(reach: Any, out_height: Any, size: Any, stride: Any, slots: Any, taps: Any) -> Any:
    """Set the slots of the output rows that a row of inputs went into, and the taps it met; return how many."""
    num = 0
    for kh in range(size):
        at = reach - kh
        if at >= 0 and at % stride == 0 and at // stride < out_height:
            slots[num] = at // stride % size
            taps[num] = kh * size
            num += 1
    return num


@inline
def _gather(
    out: Any, c: Any, width: Any, back: Any, weights: Any, begins: Any, taps: Any, num: Any, n: Any, size: Any
) -> None:
    """Set a row of the input's gradient, sixteen channels of it, by four positions at a time.

    `begins`: where the rows of gradients begin that have a share in it; `taps`: where in weights their rows begin.
    """
    for at in range(c, c + width * n, 4 * n):
        q, r, s, t = zero(), zero(), zero(), zero()
        for j in range(num):
            p, k = begins[j] + at, taps[j] + c
            for _ in range(size):
                w = load(weights, k)
                q, r = fma(w, load(back, p), q), fma(w, load(back, p + n), r)
                s, t = fma(w, load(back, p + 2 * n), s), fma(w, load(back, p + 3 * n), t)
                p, k = p + n, k + n
        store(out, at, q)
        store(out, at + n, r)
        store(out, at + 2 * n, s)
        store(out, at + 3 * n, t)


@inline
def _store_slopes(
    kind: Any, low: Any, high: Any, row: Any, width: Any, x: Any, dx: Any, i: Any, table: Any, partial: Any
) -> None:
    """Store a row of gradients before the activation, and add it to the sums of g and g (x - mean)."""
    for w in range(width):
        for c in range(x.shape[2]):
            v = widen(x[i, w, c])
            g = row[w, c] * slope(kind, low, high, v * table[c] + table[LANES + c])
            dx[i, w, c] = narrow(g, dx.dtype)
            partial[c] += g
            partial[LANES + c] += g * (v - table[2 * LANES + c])


@inline
def _store_slopes_kind(
    kind: Any, low: Any, high: Any, row: Any, width: Any, x: Any, dx: Any, i: Any, table: Any, partial: Any
) -> None:
    if kind == 0:
        _store_slopes(0, low, high, row, width, x, dx, i, table, partial)
    elif kind == 1:
        _store_slopes(1, low, high, row, width, x, dx, i, table, partial)
    else:
        _store_slopes(2, low, high, row, width, x, dx, i, table, partial)


@kernel
def convolve_back(
    g: Any, z: Any, out_height: int, z_table: Any, z_kind: int, z_low: Any, z_high: Any,
    x: Any, height: int, table: Any, kind: int, low: Any, high: Any,
    mirrored: Any, size: int, stride: int, top: int, left: int, dx: Any, num_parts: int,
) -> Any:  # fmt: skip
    """Undo `convolve`, the norm and the activation behind it, and the activation before it.

    g: gradient behind them, z: the convolution's output, both (B OH, OW, C), with the table of `norm.undo`. Sets dx to
    the gradient before x's activation. Returns sums (parts, 2, C) of it and of it times (x - table[2]), and the
    weights' gradient (parts, K K, C'), C' = C rounded up to whole lanes, as `mirrored` (K K, C') has it.
    """
    width, out_width, num_channels = x.shape[1], g.shape[1], x.shape[2]
    images, n = len(x) // height, mirrored.shape[1]
    length = max(width, out_width * stride) + 2 * size + 4
    pitch = length * n
    sums = np.zeros((num_parts, 2, num_channels), np.float64)
    gradients = np.zeros((num_parts, size * size, n), np.float64)
    for t in prange(num_parts):
        rows, back = np.zeros((size, length, n), F), np.zeros((size, length, n), F)
        row, dw, partial = np.zeros((width + 4, n), F), np.zeros(size * size * n, F), np.zeros(2 * LANES, F)
        begins, taps = np.zeros(size, np.intp), np.zeros(size, np.intp)
        flat_rows, flat_back, flat_row, flat_mirrored = rows.ravel(), back.ravel(), row.ravel(), mirrored.ravel()
        for image in range(images * t // num_parts, images * (t + 1) // num_parts):
            loaded, taken = 0, 0
            for i in range(height):
                while taken < min((i + top) // stride + 1, out_height):
                    first = taken * stride - top
                    while loaded < min(first + size, height):
                        _load_kind(kind, low, high, x, image * height + loaded, table, rows, loaded % size, size)
                        loaded += 1
                    at, slot = image * out_height + taken, taken % size
                    _load_back_kind(z_kind, z_low, z_high, g, z, at, z_table, back, slot, size, stride)
                    for kh in range(max(0, -first), min(size, height - first)):
                        p = slot * pitch + size * n
                        q = (first + kh) % size * pitch + (size - left) * n
                        for c in range(0, n, WIDTH):
                            _add_weight_gradient(
                                dw,
                                kh * size * n + c,
                                flat_back,
                                p + c,
                                flat_rows,
                                q + c,
                                out_width,
                                stride * n,
                                n,
                                size,
                            )
                    taken += 1
                num = _shares(i + top, out_height, size, stride, begins, taps)
                for j in range(num):
                    begins[j] = begins[j] * pitch + (left + 1) * n
                    taps[j] *= n
                for c in range(0, n, WIDTH):
                    _gather(flat_row, c, width, flat_back, flat_mirrored, begins, taps, num, n, size)
                _store_slopes_kind(kind, low, high, row, width, x, dx, image * height + i, table, partial)
                into_float64(partial, num_channels, sums, t)
            for k in range(size * size):
                for c in range(n):
                    gradients[t, k, c] += dw[k * n + c]
                    dw[k * n + c] = F(0)
    return sums, gradients
