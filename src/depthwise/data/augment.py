"""Random changes of uint8 batches, each a pure function of (seed, epoch, sample id)."""

import numpy as np
from numpy.typing import NDArray

from depthwise.data.order import Ids, uniform

CROP_X, CROP_Y, FLIP = 101, 102, 103  # salts: one per kind of draw


def random_crop(images: NDArray[np.uint8], ids: Ids, seed: int, epoch: int, *, fraction: float) -> NDArray[np.uint8]:
    """Shift each picture by up to `fraction` of its side in x and y; what comes into view repeats the edge.

    images and result: uint8 (B, H, W, C). The padded crop of He et al. 2015 (arXiv:1512.03385, section 4.2), with the
    edge repeated instead of zeros.
    """
    margin = round(fraction * images.shape[1])
    if margin == 0:
        return images
    height, width = images.shape[1:3]
    padded = np.pad(images, ((0, 0), (margin, margin), (margin, margin), (0, 0)), mode="edge")
    left = (uniform(ids, seed, epoch, CROP_X) * (2 * margin + 1)).astype(int)
    top = (uniform(ids, seed, epoch, CROP_Y) * (2 * margin + 1)).astype(int)
    result = np.empty_like(images)
    for index, (x, y) in enumerate(zip(left, top, strict=True)):
        result[index] = padded[index, y : y + height, x : x + width]
    return result


def random_flip(images: NDArray[np.uint8], ids: Ids, seed: int, epoch: int) -> NDArray[np.uint8]:
    """Mirror each picture left to right with probability 1/2. images and result: uint8 (B, H, W, C)."""
    is_flipped = uniform(ids, seed, epoch, FLIP) < 0.5
    return np.where(is_flipped[:, None, None, None], images[:, :, ::-1], images)
