"""Random erasing: a rectangle of noise over some pictures."""

import numpy as np

from depthwise.data.order import Ids, mix, uniform
from depthwise.data.warp import Images

IS_ERASED, AREA, RATIO, LEFT, TOP, NOISE = 201, 202, 203, 204, 205, 206  # salts
AREAS, RATIOS = (0.02, 0.4), (0.3, 1 / 0.3)
"""Share of the picture; height over width (Zhong et al. 2017, arXiv:1708.04896, section 4.2)."""


def erase(images: Images, ids: Ids, seed: int, epoch: int, probability: float) -> None:
    """Put a rectangle of random values over each picture of uint8 (B, H, W, C) with this probability, in place.

    Zhong et al. 2017, algorithm 1 and "RE-R" of section 4.2. A rectangle that would be longer than a side is as long as
    the side, and as wide as its area then asks for.
    """
    side, channels = images.shape[1], images.shape[3]
    area = AREAS[0] + (AREAS[1] - AREAS[0]) * uniform(ids, seed, epoch, AREA)
    ratio = RATIOS[0] + (RATIOS[1] - RATIOS[0]) * uniform(ids, seed, epoch, RATIO)
    heights = np.clip(np.sqrt(area * ratio), area, 1.0)
    widths = area / heights
    left, top = (uniform(ids, seed, epoch, salt) for salt in (LEFT, TOP))
    for number in np.flatnonzero(uniform(ids, seed, epoch, IS_ERASED) < probability):
        height, width = max(1, round(heights[number] * side)), max(1, round(widths[number] * side))
        y, x = int(top[number] * (side - height + 1)), int(left[number] * (side - width + 1))
        num_bytes = height * width * channels
        words = mix(mix(ids[number], seed, epoch, NOISE) + np.arange(-(-num_bytes // 8), dtype=np.uint64))
        noise = words.astype("<u8").view(np.uint8)[:num_bytes]
        images[number, y : y + height, x : x + width] = noise.reshape(height, width, channels)
