"""Whether two pictures show the same shot: one is laid over the other, then compared block by block.

Perceptual hashes of different pictures agree often enough (two solar cells, two scanned pages). So what they propose
is decided on pixels: the second is registered onto the first (scale and shift in x and y, brightness and contrast; the
inverse of a crop, a resize, an exposure) by Gauss-Newton steps from coarse to fine (Lucas & Kanade 1981), and then
nearly every block of 8 x 8 px must have the same structure, by SSIM's last two factors (Wang et al. 2004, equation 13).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Grey = NDArray[np.float64]

SIDE = 128
"""Largest side of the comparison, px."""
COARSEST, SMALLEST = 16, 8
STEPS = 6
MIN_OVERLAP, MIN_CORRELATION = 0.6, 0.7
BLOCK, NOISE = 8, 3.0
"""Block of pixels; grey levels that compression and resizing may change."""
WORST = 0.1
"""Share of the blocks that may differ: text on top, a finger at the edge."""
ALIKE = 0.8
"""Likeness from which on two pictures are the same shot; see bench/audit.py."""
ALIKE_BY_KIND = 0.95
"""The same among pictures of one kind, such as solar cells: 99 % of different ones that hashes propose lie below it."""


def small_grey(image: Image.Image, side: int = SIDE) -> Image.Image:
    """Return the grey picture squashed to a square of at most `side` px."""
    side = max(SMALLEST, min(side, image.width, image.height))
    return image.convert("L").resize((side, side), Image.Resampling.BILINEAR)


def likeness(first: Image.Image, second: Image.Image) -> float:
    """Return 0 (different) to 1 (the same): the tenth percentile of the blocks' structural similarity.

    Both are what `small_grey` gives; one may show a little more than the other at its edges.
    """
    side = min(first.width, second.width)
    place: Grey = np.array([1.0, 1.0, 0.0, 0.0])  # scale in x and y; shift, in shares of the side
    for step in [s for s in (COARSEST, 32, 64) if s < side] + [side]:
        a, b = (np.asarray(i.resize((step, step), Image.Resampling.BILINEAR), np.float64) for i in (first, second))
        place = _register(a, b, place)
        warped, is_inside = _warp(a, place)
        if is_inside.mean() < MIN_OVERLAP or _correlation(warped[is_inside], b[is_inside]) < MIN_CORRELATION:
            return 0.0
    return _structure(warped, b, is_inside)


def _warp(image: Grey, place: Grey) -> tuple[Grey, NDArray[np.bool_]]:
    """Return the image sampled (bilinear) on the grid moved to `place`, and which samples lie within it."""
    side = len(image)
    centred = (np.arange(side) + 0.5) / side - 0.5
    x = (place[0] * centred + place[2] + 0.5) * side - 0.5
    y = (place[1] * centred + place[3] + 0.5) * side - 0.5
    is_inside = ((y >= -0.5) & (y <= side - 0.5))[:, None] & ((x >= -0.5) & (x <= side - 0.5))[None]
    x, y = np.clip(x, 0, side - 1.001), np.clip(y, 0, side - 1.001)
    j, i = x.astype(int), y.astype(int)
    u, v = x - j, (y - i)[:, None]
    rows = image[i] * (1 - v) + image[i + 1] * v
    return rows[:, j] * (1 - u) + rows[:, j + 1] * u, is_inside


def _register(a: Grey, b: Grey, place: Grey) -> Grey:
    """Return `place` after Gauss-Newton steps towards b = gain * warp(a, place) + offset."""
    side = len(a)
    centred = (np.arange(side) + 0.5) / side - 0.5
    across, down = np.meshgrid(centred, centred)
    slope_y: Grey = np.asarray(np.gradient(a, axis=0))
    slope_x: Grey = np.asarray(np.gradient(a, axis=1))
    for _ in range(STEPS):
        warped, is_inside = _warp(a, place)
        if is_inside.mean() < MIN_OVERLAP:
            return place
        x, y = side * _warp(slope_x, place)[0][is_inside], side * _warp(slope_y, place)[0][is_inside]
        terms = (x * across[is_inside], y * down[is_inside], x, y, warped[is_inside], np.ones_like(x))
        jacobian = np.stack(terms, axis=1)
        normal = jacobian.T @ jacobian
        normal[np.diag_indices(4)] += 1e-6 * np.trace(normal)  # where nothing shows, nothing moves
        normal[np.diag_indices(6)] += 1e-9
        solution = np.linalg.solve(normal, jacobian.T @ b[is_inside])
        gain = max(0.1, solution[4])
        move: Grey = np.clip(solution[:4] / gain, -0.05, 0.05)
        place = place + move
    return place


def _correlation(x: Grey, y: Grey) -> float:
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum() + 1e-9))


def _structure(a: Grey, b: Grey, is_inside: NDArray[np.bool_]) -> float:
    """Return the tenth percentile over blocks of (2 cov + c) / (var a + var b + c), brightness and gain fitted."""
    x, y = a - a[is_inside].mean(), b - b[is_inside].mean()
    x *= (x * y)[is_inside].sum() / ((x * x)[is_inside].sum() + 1e-9)
    inside = _blocks(is_inside).all(axis=1)
    x_blocks, y_blocks = _blocks(x)[inside], _blocks(y)[inside]
    x_blocks, y_blocks = (part - part.mean(axis=1, keepdims=True) for part in (x_blocks, y_blocks))
    constant = 2 * NOISE**2
    covariance = 2 * (x_blocks * y_blocks).mean(axis=1) + constant
    similarity = covariance / ((x_blocks**2).mean(axis=1) + (y_blocks**2).mean(axis=1) + constant)
    return float(np.quantile(similarity, WORST)) if len(similarity) else 0.0


def _blocks(image: NDArray[Any]) -> NDArray[Any]:
    """Return (number of blocks, 64); a rest at the right and lower edge is left off."""
    number = len(image) // BLOCK
    cut = image[: number * BLOCK, : number * BLOCK]
    return cut.reshape(number, BLOCK, number, BLOCK).transpose(0, 2, 1, 3).reshape(-1, BLOCK * BLOCK)
