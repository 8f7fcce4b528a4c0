"""Batch norm, residual sum and activation in one pass each way.

PyTorch (eager) reads x for its statistics, reads it again and writes the normalised one, reads and writes that for the
activation, and reads and writes once more for the sum: 7 passes, 3 tensors kept for backward. Here: read; read, (read
the residual,) write. Backward has 4 reads and a write instead of 10 passes, and computes the normalised value again
from x, so that x is all that is kept.

Kernels see x as rows of R x C numbers: R positions at once, so that few channels still make long loops. Tables of
channel values are repeated R times, LANES apart, a distance that the compiler knows: so it need not ask, row by row,
whether they overlap.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from depthwise.kernels.numbers import activate, inline, narrow, slope, widen
from depthwise.kernels.threads import kernel

LANES = 4096
"""Most channels."""
BLOCK = 64
"""Rows that are summed in float32 before they go into float64."""
F = np.float32
Array = NDArray[Any]


@lru_cache(4096)
def num_repeats(num_positions: int, num_channels: int) -> int:
    """Return R: how many positions make a row, without a remainder, of at most about 1,024 numbers."""
    return next(r for r in range(max(1, 1024 // num_channels), 0, -1) if num_positions % r == 0)


def tables(repeats: int, *channel_values: Array) -> Array:
    """Return float32 values per channel side by side, LANES apart, each repeated."""
    num_channels = len(channel_values[0])
    table = np.empty((len(channel_values), LANES), F)
    used = table[:, : repeats * num_channels].reshape(len(table), repeats, num_channels)
    for row, values in zip(used, channel_values, strict=True):
        row[:] = values
    return table.reshape(-1)


def in_rows(x: Array, repeats: int) -> Array:
    """Return (M, C) as rows of R positions."""
    return x.reshape(-1, repeats * x.shape[1])


def fold(sums: Array, num_channels: int, repeats: int) -> Array:
    """Return sums (threads, S, LANES) over threads and repeats, in this order: (S, C)."""
    used = sums[:, :, : repeats * num_channels].sum(0)
    folded: Array = used.reshape(len(used), repeats, num_channels).sum(1)
    return folded


@njit(cache=True)
def typical(x: Any) -> Any:
    """Return the mean of 64 positions of (M, C) far from each other: near enough to the mean to subtract first."""
    num_positions, num_channels = x.shape
    count = min(64, num_positions)
    mean = np.zeros(num_channels, np.float64)
    for k in range(count):
        i = k * num_positions // count
        for c in range(num_channels):
            mean[c] += widen(x[i, c])
    return mean / count


@inline
def _add_moments(x: Any, first: Any, end: Any, table: Any, partial: Any) -> None:
    n = x.shape[1]
    q = (end - first) // 4
    for i in range(first, first + q):
        for j in range(n):
            a, b = widen(x[i, j]) - table[j], widen(x[i + q, j]) - table[j]
            c, d = widen(x[i + 2 * q, j]) - table[j], widen(x[i + 3 * q, j]) - table[j]
            partial[j] += (a + b) + (c + d)
            partial[LANES + j] += (a * a + b * b) + (c * c + d * d)
    for i in range(first + 4 * q, end):
        for j in range(n):
            a = widen(x[i, j]) - table[j]
            partial[j] += a
            partial[LANES + j] += a * a


@inline
def into_float64(partial: Any, n: Any, sums: Any, t: Any) -> None:
    """Add both rows of float32 sums to part t's, and clear them."""
    for j in range(n):
        sums[t, 0, j] += partial[j]
        sums[t, 1, j] += partial[LANES + j]
        partial[j] = F(0)
        partial[LANES + j] = F(0)


@kernel
def moments(x: Any, table: Any, num_parts: int) -> Any:
    """Return (parts, 2, LANES): sums of d and of d * d, d = x - table.

    The table holds channel values near the mean, so that nothing cancels.
    """
    sums = np.zeros((num_parts, 2, LANES), np.float64)
    m, n = x.shape
    for t in prange(num_parts):
        partial = np.zeros(2 * LANES, F)
        end = m * (t + 1) // num_parts
        for first in range(m * t // num_parts, end, BLOCK):
            _add_moments(x, first, min(first + BLOCK, end), table, partial)
            into_float64(partial, n, sums, t)
    return sums


@inline
def _apply(
    kind: Any, low: Any, high: Any, x: Any, residual: Any, has_residual: Any, i: Any, table: Any, y: Any
) -> None:
    n = x.shape[1]
    if has_residual:
        for j in range(n):
            v = widen(x[i, j]) * table[j] + table[LANES + j] + widen(residual[i, j])
            y[i, j] = narrow(activate(kind, low, high, v), y.dtype)
    else:
        for j in range(n):
            v = widen(x[i, j]) * table[j] + table[LANES + j]
            y[i, j] = narrow(activate(kind, low, high, v), y.dtype)


@inline
def _apply_kind(
    kind: Any, low: Any, high: Any, x: Any, residual: Any, has_residual: Any, i: Any, table: Any, y: Any
) -> None:
    """Choose the formula outside of the loop."""
    if kind == 0:
        _apply(0, low, high, x, residual, has_residual, i, table, y)
    elif kind == 1:
        _apply(1, low, high, x, residual, has_residual, i, table, y)
    else:
        _apply(2, low, high, x, residual, has_residual, i, table, y)


@kernel
def normalise(
    x: Any, residual: Any, has_residual: bool, table: Any, kind: int, low: Any, high: Any, y: Any, num_parts: int
) -> None:
    """Set y to the activation of x * table[0] + table[1] (+ residual)."""
    m = len(x)
    for t in prange(num_parts):
        for i in range(m * t // num_parts, m * (t + 1) // num_parts):
            _apply_kind(kind, low, high, x, residual, has_residual, i, table, y)


@inline
def _add_slopes(
    kind: Any, low: Any, high: Any, g: Any, x: Any, seen: Any, first: Any, end: Any, table: Any, partial: Any
) -> None:
    """Per channel: sums of g' and of g' (x - mean), g' the gradient before the activation."""
    n = x.shape[1]
    half = (end - first) // 2
    for i in range(first, first + half):
        k = i + half
        for j in range(n):
            a, b = widen(x[i, j]), widen(x[k, j])
            u = widen(g[i, j]) * slope(kind, low, high, widen(seen[i, j]) * table[LANES + j] + table[2 * LANES + j])
            v = widen(g[k, j]) * slope(kind, low, high, widen(seen[k, j]) * table[LANES + j] + table[2 * LANES + j])
            partial[j] += u + v
            partial[LANES + j] += u * (a - table[j]) + v * (b - table[j])
    for i in range(first + 2 * half, end):
        for j in range(n):
            u = widen(g[i, j]) * slope(kind, low, high, widen(seen[i, j]) * table[LANES + j] + table[2 * LANES + j])
            partial[j] += u
            partial[LANES + j] += u * (widen(x[i, j]) - table[j])


@inline
def _add_slopes_kind(
    kind: Any, low: Any, high: Any, g: Any, x: Any, seen: Any, first: Any, end: Any, table: Any, partial: Any
) -> None:
    if kind == 0:
        _add_slopes(0, low, high, g, x, seen, first, end, table, partial)
    elif kind == 1:
        _add_slopes(1, low, high, g, x, seen, first, end, table, partial)
    else:
        _add_slopes(2, low, high, g, x, seen, first, end, table, partial)


@kernel
def slopes(g: Any, x: Any, seen: Any, table: Any, kind: int, low: Any, high: Any, num_parts: int) -> Any:
    """Return (parts, 2, LANES): sums of g' and of g' (x - table[0]), g' the gradient g before the activation.

    The activation's argument is seen * table[1] + table[2].
    """
    sums = np.zeros((num_parts, 2, LANES), np.float64)
    m, n = x.shape
    for t in prange(num_parts):
        partial = np.zeros(2 * LANES, F)
        end = m * (t + 1) // num_parts
        for first in range(m * t // num_parts, end, BLOCK):
            _add_slopes_kind(kind, low, high, g, x, seen, first, min(first + BLOCK, end), table, partial)
            into_float64(partial, n, sums, t)
    return sums


@inline
def _undo(
    kind: Any, low: Any, high: Any, g: Any, x: Any, seen: Any, i: Any, table: Any, dx: Any, dr: Any, has_dr: Any
) -> None:
    n = x.shape[1]
    if has_dr:
        for j in range(n):
            u = widen(g[i, j]) * slope(kind, low, high, widen(seen[i, j]) * table[LANES + j] + table[2 * LANES + j])
            dr[i, j] = narrow(u, dr.dtype)
            dx[i, j] = narrow(
                u * table[3 * LANES + j] + ((widen(x[i, j]) - table[j]) * table[4 * LANES + j] + table[5 * LANES + j]),
                dx.dtype,
            )
    else:
        for j in range(n):
            u = widen(g[i, j]) * slope(kind, low, high, widen(seen[i, j]) * table[LANES + j] + table[2 * LANES + j])
            dx[i, j] = narrow(
                u * table[3 * LANES + j] + ((widen(x[i, j]) - table[j]) * table[4 * LANES + j] + table[5 * LANES + j]),
                dx.dtype,
            )


@inline
def _undo_kind(
    kind: Any, low: Any, high: Any, g: Any, x: Any, seen: Any, i: Any, table: Any, dx: Any, dr: Any, has_dr: Any
) -> None:
    if kind == 0:
        _undo(0, low, high, g, x, seen, i, table, dx, dr, has_dr)
    elif kind == 1:
        _undo(1, low, high, g, x, seen, i, table, dx, dr, has_dr)
    else:
        _undo(2, low, high, g, x, seen, i, table, dx, dr, has_dr)


@kernel
def undo(
    g: Any,
    x: Any,
    seen: Any,
    table: Any,
    kind: int,
    low: Any,
    high: Any,
    dx: Any,
    dr: Any,
    has_dr: bool,
    num_parts: int,
) -> None:
    """Set dx to g' table[3] + (x - table[0]) table[4] + table[5]; see `slopes`.

    And dr, the residual's gradient, to g'.
    """
    m = len(x)
    for t in prange(num_parts):
        for i in range(m * t // num_parts, m * (t + 1) // num_parts):
            _undo_kind(kind, low, high, g, x, seen, i, table, dx, dr, has_dr)


@inline
def _undo_here(g: Any, x: Any, i: Any, table: Any) -> None:
    for j in range(x.shape[1]):
        rest = (widen(x[i, j]) - table[j]) * table[2 * LANES + j] + table[3 * LANES + j]
        g[i, j] = narrow(widen(g[i, j]) * table[LANES + j] + rest, g.dtype)


@kernel
def undo_here(g: Any, x: Any, table: Any, num_parts: int) -> None:
    """Set g, the gradient behind a norm alone, to g table[1] + (x - table[0]) table[2] + table[3]."""
    m = len(x)
    for t in prange(num_parts):
        for i in range(m * t // num_parts, m * (t + 1) // num_parts):
            _undo_here(g, x, i, table)
