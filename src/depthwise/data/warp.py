"""Crop, resize, flip, turn, shear: one resampling pass per picture; and one affine change of its colours.

A map is a float64 (2, 3) matrix from places in the result to places in the picture, both in px, where pixel i spans
[i, i + 1). Pixels are mixed by a triangle as wide as the pixel is after the map, at least 1 px to each side: bilinear
where a picture grows, antialiased where it shrinks (what Pillow calls BILINEAR and torch antialias=True). Beyond the
edge the edge repeats. Weights are rounded to 14 bits and sums are of integers, so that the same bits come out with
numba and without, on every machine.
"""

from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthwise.files import settle_numba_cache

Images = NDArray[np.uint8]
Maps = NDArray[np.float64]
TAP_BITS, TEMPORARY_SHIFT, COLOUR_BITS = 14, 6, 12
"""Bits of a weight; bits that a sum of rows gives up before columns are summed; bits of a colour's factor."""


@cache
def _numba() -> ModuleType | None:
    """Return the compiled twin of this module, or None where numba is not installed or finds no compiler's target."""
    settle_numba_cache()
    try:
        from depthwise.data import warp_numba
    except ImportError:
        return None
    return warp_numba


def warp(pictures: Images, rows: NDArray[np.intp], maps: Maps, side: int) -> Images:
    """Return uint8 (B, side, side, C): of each picture `pictures[row]`, uint8 (N, H, W, C), what its map shows.

    maps: float64 (B, 2, 3). Where all maps only shift by whole pixels and mirror, pixels are copied.
    """
    if _are_copies(maps):
        return _copy(pictures, rows, maps, side)
    if module := _numba():
        result = np.empty((len(rows), side, side, pictures.shape[3]), np.uint8)
        module.warp(np.asarray(pictures), np.asarray(rows, np.int64), np.ascontiguousarray(maps), result)
        return result
    return warp_plain(pictures, rows, maps, side)


def _are_copies(maps: Maps) -> bool:
    rounded = np.rint(maps)
    straight = (np.abs(rounded[:, (0, 1), (0, 1)]) == 1).all() and not rounded[:, (0, 1), (1, 0)].any()
    return bool(straight and (np.abs(maps - rounded) < 1e-9).all())


def _copy(pictures: Images, rows: NDArray[np.intp], maps: Maps, side: int) -> Images:
    height, width = pictures.shape[1:3]
    ys = np.rint(maps[:, 1, 1:2]) * (np.arange(side) + 0.5) + np.rint(maps[:, 1, 2:])
    ys = np.clip(np.floor(ys), 0, height - 1).astype(np.intp)
    is_mirrored = maps[:, 0, 0] < 0
    starts = np.rint(maps[:, 0, 2]).astype(np.intp)  # of a mirrored one: the place behind its first pixel
    starts = np.where(is_mirrored, width - starts, starts)
    result = np.empty((len(rows), side, side, pictures.shape[3]), np.uint8)
    for row, y, start, step, out in zip(rows, ys, starts, np.where(is_mirrored, -1, 1), result, strict=True):
        lines = pictures[row][y][:, ::step]
        low = min(max(-start, 0), side)
        high = min(max(width - start, low), side)
        out[:, low:high] = lines[:, low + start : high + start]
        out[:, :low], out[:, high:] = lines[:, :1], lines[:, -1:]
    return result


def warp_plain(pictures: Images, rows: NDArray[np.intp], maps: Maps, side: int) -> Images:
    """Return what `warp` does, without numba."""
    results = [_warp_one(pictures[row], matrix, side) for row, matrix in zip(rows, maps, strict=True)]
    return np.array(results, np.uint8).reshape(len(rows), side, side, pictures.shape[3])


def _warp_one(picture: Images, matrix: Maps, side: int) -> Images:
    height, width = picture.shape[:2]
    x, y = np.arange(side) + 0.5, (np.arange(side) + 0.5)[:, None]
    if not matrix[0, 1] and not matrix[1, 0]:  # the centre of any row and column stands for all
        x_of, y_of = np.full((side, 1), 0.5), np.full((1, side), 0.5)
    else:
        x_of, y_of = np.broadcast_to(y, (side, side)), np.broadcast_to(x, (side, side))
    us = matrix[0, 0] * x + matrix[0, 1] * x_of + matrix[0, 2]
    vs = matrix[1, 0] * y_of + matrix[1, 1] * y + matrix[1, 2]
    xs, weights_x = _find_taps(us, _support(matrix[0]), width)
    ys, weights_y = _find_taps(vs, _support(matrix[1]), height)
    total = np.full((side, side, picture.shape[2]), 1 << (2 * TAP_BITS - TEMPORARY_SHIFT - 1), np.int64)
    for place_x, weight_x in zip(xs, weights_x, strict=True):
        column = np.full_like(total, 1 << (TEMPORARY_SHIFT - 1))
        for place_y, weight_y in zip(ys, weights_y, strict=True):
            column += weight_y[..., None] * picture[place_y, place_x]
        total += weight_x[..., None] * (column >> TEMPORARY_SHIFT)
    return (total >> (2 * TAP_BITS - TEMPORARY_SHIFT)).astype(np.uint8)


def _support(row: NDArray[np.float64]) -> float:
    """Return half the width of the triangle along an axis, px: what one px of the result covers, at least 1."""
    stretch = abs(row[0] or row[1]) if not (row[0] and row[1]) else np.sqrt(row[0] * row[0] + row[1] * row[1])
    return max(1.0, float(stretch))


def _find_taps(centres: NDArray[np.float64], support: float, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pixels under a triangle about each centre, (K, ...), and what each counts, in 1 / 2**14."""
    first = np.floor(centres - support + 0.5)
    count = np.floor(centres + support + 0.5) - first
    taps = first + np.arange(count.max()).reshape(-1, *[1] * centres.ndim)
    heights = np.maximum(0.0, 1.0 - np.abs((taps + 0.5) - centres) / support)
    heights[np.arange(len(taps)).reshape(-1, *[1] * centres.ndim) >= count] = 0.0
    total = np.zeros_like(centres)
    for height in heights:  # one after the other: a sum in another order has other last bits
        total += height
    weights = np.floor(heights / total * (1 << TAP_BITS) + 0.5).astype(np.int64)
    rest = (1 << TAP_BITS) - weights.sum(axis=0)
    largest = weights.argmax(axis=0)[None]
    np.put_along_axis(weights, largest, np.take_along_axis(weights, largest, axis=0) + rest, axis=0)
    return np.clip(taps, 0, size - 1).astype(np.int64), weights


def recolour(images: Images, matrices: NDArray[np.float64]) -> Images:
    """Return each picture's pixels as its matrix, float64 (C, C + 1), times (channels, 1), rounded, within 0 to 255."""
    return _recolour(_numba(), images, matrices)


def recolour_plain(images: Images, matrices: NDArray[np.float64]) -> Images:
    """Return what `recolour` does, without numba."""
    return _recolour(None, images, matrices)


def _recolour(module: Any, images: Images, matrices: NDArray[np.float64]) -> Images:
    factors = np.floor(matrices * (1 << COLOUR_BITS) + 0.5).astype(np.int64)
    factors[:, :, -1] += 1 << (COLOUR_BITS - 1)
    result = images.copy()
    if module:
        module.recolour(result, factors)
        return result
    pixels = images.astype(np.int64)
    sums = np.einsum("bhwc,bdc->bhwd", pixels, factors[:, :, :-1]) + factors[:, None, None, :, -1]
    result[:] = np.clip(sums >> COLOUR_BITS, 0, 255)
    return result
