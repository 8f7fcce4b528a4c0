"""`warp` and `recolour` of data/warp.py as machine code, to the bit: numba, no threads of its own, no interpreter lock.

Integers and plain float64 in a fixed order: the same bits on every processor, whatever its vector units.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from depthwise.data.warp import COLOUR_BITS, TAP_BITS, TEMPORARY_SHIFT, Images, Maps

Ints = NDArray[np.int32]
ONE = 1 << TAP_BITS
WARP = "void(Array(uint8, 4, 'C', readonly=True), int64[::1], float64[:, :, ::1], uint8[:, :, :, ::1])"
"""Pictures are read-only, as the map of a file is; arrays that can be written to fit as well."""
RECOLOUR = "void(uint8[:, :, :, ::1], int64[:, :, ::1])"
ROUND_COLUMN, ROUND_ROW = 1 << (TEMPORARY_SHIFT - 1), 1 << (2 * TAP_BITS - TEMPORARY_SHIFT - 1)


@njit(nogil=True, inline="always", cache=True)
def _find_taps(centre: float, support: float, size: int, places: Ints, weights: Ints) -> int:
    """Fill in the pixels that a triangle about `centre` touches and what each counts; return how many there are."""
    first = int(np.floor(centre - support + 0.5))
    count = int(np.floor(centre + support + 0.5)) - first
    total = 0.0
    for k in range(count):
        total += max(0.0, 1.0 - abs((first + k + 0.5) - centre) / support)
    rest, largest = ONE, 0
    for k in range(count):
        share = max(0.0, 1.0 - abs((first + k + 0.5) - centre) / support) / total
        weights[k] = int(np.floor(share * ONE + 0.5))
        places[k] = min(max(first + k, 0), size - 1)
        rest -= weights[k]
        if weights[k] > weights[largest]:
            largest = k
    weights[largest] += rest
    return count


@njit(nogil=True, cache=True)
def _add_row(mixed: Ints, line: Images, weight: np.int32) -> None:
    """Add a weighted row of pixels; a loop by itself, as compilers need it to fill vector units."""
    for i in range(len(mixed)):
        mixed[i] += weight * line[i]


@njit(nogil=True, cache=True)
def _add_columns(totals: Ints, mixed: Ints, places: NDArray[np.uint32], weights: Ints) -> None:
    """Add one tap of every pixel of a row."""
    for i in range(len(totals)):
        totals[i] += weights[i] * mixed[places[i]]


@njit(nogil=True, cache=True)
def _warp_upright(picture: Images, matrix: Maps, result: Images) -> None:
    """Warp one picture whose axes stay axes: rows are mixed first, then columns, with the sums of `_warp_turned`."""
    height, width, channels = picture.shape
    side = result.shape[0]
    support_x, support_y = max(1.0, abs(matrix[0, 0])), max(1.0, abs(matrix[1, 1]))
    most = int(2 * max(support_x, support_y)) + 3
    row_places, row_weights = np.empty(most, np.int32), np.empty(most, np.int32)
    places = np.empty((most, side * channels), np.uint32)  # by tap, then along the row: loops that fill vector units
    weights = np.zeros((most, side * channels), np.int32)
    num_taps, left, right = 0, width, 0
    for x in range(side):
        centre = matrix[0, 0] * (x + 0.5) + matrix[0, 1] * 0.5 + matrix[0, 2]
        count = _find_taps(centre, support_x, width, row_places, row_weights)
        num_taps = max(num_taps, count)
        left, right = min(left, row_places[0]), max(right, row_places[count - 1] + 1)
        for k in range(most):
            for c in range(channels):
                places[k, x * channels + c] = row_places[min(k, count - 1)] * channels + c
                if k < count:
                    weights[k, x * channels + c] = row_weights[k]
    places -= np.uint32(left * channels)
    start, stop = left * channels, right * channels
    mixed, totals = np.empty(stop - start, np.int32), np.empty(side * channels, np.int32)
    flat, flat_result = picture.reshape(height, width * channels), result.reshape(side, side * channels)
    for y in range(side):
        centre = matrix[1, 0] * 0.5 + matrix[1, 1] * (y + 0.5) + matrix[1, 2]
        count = _find_taps(centre, support_y, height, row_places, row_weights)
        mixed[:] = ROUND_COLUMN
        for k in range(count):
            _add_row(mixed, flat[row_places[k], start:stop], row_weights[k])
        for i in range(len(mixed)):
            mixed[i] >>= TEMPORARY_SHIFT
        totals[:] = ROUND_ROW
        for k in range(num_taps):
            _add_columns(totals, mixed, places[k], weights[k])
        line = flat_result[y]
        for i in range(len(totals)):
            line[i] = totals[i] >> (2 * TAP_BITS - TEMPORARY_SHIFT)


@njit(nogil=True, cache=True)
def _warp_turned(picture: Images, matrix: Maps, result: Images) -> None:
    """Warp one picture by any affine map: per pixel, columns of a small window are mixed, then their results."""
    height, width, channels = picture.shape
    side = result.shape[0]
    support_x = max(1.0, np.sqrt(matrix[0, 0] * matrix[0, 0] + matrix[0, 1] * matrix[0, 1]))
    support_y = max(1.0, np.sqrt(matrix[1, 0] * matrix[1, 0] + matrix[1, 1] * matrix[1, 1]))
    xs, weights_x = np.empty(int(2 * support_x) + 3, np.int32), np.empty(int(2 * support_x) + 3, np.int32)
    ys, weights_y = np.empty(int(2 * support_y) + 3, np.int32), np.empty(int(2 * support_y) + 3, np.int32)
    for y in range(side):
        for x in range(side):
            u = matrix[0, 0] * (x + 0.5) + matrix[0, 1] * (y + 0.5) + matrix[0, 2]
            v = matrix[1, 0] * (x + 0.5) + matrix[1, 1] * (y + 0.5) + matrix[1, 2]
            num_x = _find_taps(u, support_x, width, xs, weights_x)
            num_y = _find_taps(v, support_y, height, ys, weights_y)
            for c in range(channels):
                total = ROUND_ROW
                for i in range(num_x):
                    column = ROUND_COLUMN
                    for j in range(num_y):
                        column += weights_y[j] * picture[ys[j], xs[i], c]
                    total += weights_x[i] * (column >> TEMPORARY_SHIFT)
                result[y, x, c] = total >> (2 * TAP_BITS - TEMPORARY_SHIFT)


@njit(WARP, nogil=True, cache=True)
def warp(pictures: Images, rows: NDArray[np.int64], matrices: Maps, result: Images) -> None:
    """Fill `result` with the pictures of those rows, each under its own map."""
    for i in range(len(rows)):
        if matrices[i, 0, 1] == 0.0 and matrices[i, 1, 0] == 0.0:
            _warp_upright(pictures[rows[i]], matrices[i], result[i])
        else:
            _warp_turned(pictures[rows[i]], matrices[i], result[i])


@njit(RECOLOUR, nogil=True, cache=True)
def recolour(images: Images, matrices: NDArray[np.int64]) -> None:
    """Replace each pixel by its picture's matrix times (channels, 1)."""
    channels = images.shape[3]
    for i in range(len(images)):
        flat = images[i].reshape(-1, channels)
        matrix = matrices[i].astype(np.int32)
        for p in range(len(flat)):
            if channels == 3:
                r, g, b = np.int32(flat[p, 0]), np.int32(flat[p, 1]), np.int32(flat[p, 2])
                for c in range(3):
                    value = matrix[c, 0] * r + matrix[c, 1] * g + matrix[c, 2] * b + matrix[c, 3]
                    flat[p, c] = min(max(value >> COLOUR_BITS, 0), 255)
            else:
                flat[p, 0] = min(max((matrix[0, 0] * flat[p, 0] + matrix[0, 1]) >> COLOUR_BITS, 0), 255)
