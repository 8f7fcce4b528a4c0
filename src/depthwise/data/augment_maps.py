"""Where a changed picture's pixels come from: crops, mirrors, turns, as maps that multiply into one.

A map is a float64 (3, 3) matrix from places in the result to places in the picture, both with sides of 1. Maps of a
batch, (B, 3, 3), are multiplied first change first: cut out, then turn, then mirror what is seen.
"""

import math

import numpy as np
from numpy.typing import NDArray

from depthwise.data.order import Ids, uniform
from depthwise.data.warp import Maps

SHIFT_X, SHIFT_Y, FLIP, VERTICAL_FLIP, ANGLE = 101, 102, 103, 104, 105  # salts: one per kind of draw
AREA, RATIO, BOX_X, BOX_Y, SHORT_SIDE = 106, 107, 108, 109, 110
RATIOS = 3 / 4, 4 / 3
"""Width over height of a random crop (Szegedy et al. 2014, arXiv:1409.4842, section 6)."""


def identity(number: int) -> Maps:
    """Return `number` maps that change nothing."""
    return np.tile(np.eye(3), (number, 1, 1))


def box_maps(
    ids: Ids, seed: int, epoch: int, side: int, *, crop: float, scale_min: float, short_side: tuple[int, int]
) -> Maps:
    """Return the maps of one rule for where to cut; without any, of the whole picture. `side`: the result's, px."""
    if short_side[0]:
        return _short_side_boxes(ids, seed, epoch, side, short_side)
    if scale_min:
        return _random_boxes(ids, seed, epoch, scale_min)
    return _shifts(ids, seed, epoch, side, crop)


def _boxes(left: NDArray[np.float64], top: NDArray[np.float64], width: Maps | float, height: Maps | float) -> Maps:
    maps = identity(len(left))
    maps[:, 0, 2], maps[:, 1, 2] = left, top
    maps[:, 0, 0], maps[:, 1, 1] = width, height
    return maps


def _shifts(ids: Ids, seed: int, epoch: int, side: int, fraction: float) -> Maps:
    """Shift by whole pixels, at most `fraction` of the side in x and y; what comes into view repeats the edge.

    The padded crop of He et al. 2015 (arXiv:1512.03385, section 4.2), with the edge repeated instead of zeros.
    """
    margin = math.floor(fraction * side + 1e-9)  # 0.08 of 8 px is none: one px would be an eighth
    left, top = (np.floor(uniform(ids, seed, epoch, salt) * (2 * margin + 1)) for salt in (SHIFT_X, SHIFT_Y))
    return _boxes((left - margin) / side, (top - margin) / side, 1.0, 1.0)


def _random_boxes(ids: Ids, seed: int, epoch: int, scale_min: float) -> Maps:
    """Cut out a box of `scale_min` to all of the area, width over height 3/4 to 4/3 (Szegedy et al. 2014, section 6).

    A box that would be wider or higher than the picture is as wide or high as it is, with the same area.
    """
    area = scale_min + (1 - scale_min) * uniform(ids, seed, epoch, AREA)
    low, high = np.log(RATIOS)
    root = np.exp((low + (high - low) * uniform(ids, seed, epoch, RATIO)) / 2)
    width = np.clip(np.sqrt(area) * root, area, 1.0)
    height = area / width
    left, top = (uniform(ids, seed, epoch, salt) for salt in (BOX_X, BOX_Y))
    return _boxes(left * (1 - width), top * (1 - height), width, height)


def _short_side_boxes(ids: Ids, seed: int, epoch: int, side: int, short_side: tuple[int, int]) -> Maps:
    """Cut out what `side` px of a picture show whose short side has a random length in `short_side`, px.

    Scale jitter: 256 to 512 for 224 px (Simonyan & Zisserman 2014, arXiv:1409.1556, section 3.1); a fixed 256 is
    AlexNet's random crop (Krizhevsky et al. 2012, section 4.1). Never more than the picture is cut out.
    """
    low, high = short_side
    length = low + np.floor(uniform(ids, seed, epoch, SHORT_SIDE) * (high - low + 1))
    share = np.minimum(1.0, side / length)
    left, top = (uniform(ids, seed, epoch, salt) for salt in (BOX_X, BOX_Y))
    return _boxes(left * (1 - share), top * (1 - share), share, share)


def mirror_maps(ids: Ids, seed: int, epoch: int, *, flip: bool, vertical_flip: bool) -> Maps:
    """Mirror left to right, and top to bottom, each with probability 1/2 where it is wanted."""
    maps = identity(len(ids))
    for axis, salt, is_wanted in ((0, FLIP, flip), (1, VERTICAL_FLIP, vertical_flip)):
        is_mirrored = is_wanted & (uniform(ids, seed, epoch, salt) < 0.5)
        maps[:, axis, axis] = np.where(is_mirrored, -1.0, 1.0)
        maps[:, axis, 2] = np.where(is_mirrored, 1.0, 0.0)
    return maps


def turn_maps(ids: Ids, seed: int, epoch: int, degrees: float) -> Maps:
    """Turn about the centre by a random angle of up to `degrees` either way; corners repeat the edge."""
    angles = np.deg2rad(degrees) * (2 * uniform(ids, seed, epoch, ANGLE) - 1)
    return about_centre(np.cos(angles), -np.sin(angles), np.sin(angles), np.cos(angles))


def about_centre(xx: Maps | float, xy: Maps | float, yx: Maps | float, yy: Maps | float) -> Maps:
    """Return maps with these linear parts, each () or (B,), that leave the centre where it is."""
    columns = np.broadcast_arrays(*np.atleast_1d(xx, xy, yx, yy))
    maps = identity(len(columns[0]))
    maps[:, 0, 0], maps[:, 0, 1], maps[:, 1, 0], maps[:, 1, 1] = columns
    maps[:, :2, 2] = 0.5 - 0.5 * (maps[:, :2, 0] + maps[:, :2, 1])
    return maps


def in_pixels(maps: Maps, stored: int, side: int) -> Maps:
    """Return what `warp` takes, (B, 2, 3): from px of a result of `side` to px of a picture of `stored`."""
    pixels = maps[:, :2] * float(stored)
    pixels[:, :, :2] /= side
    return pixels
