"""Mixup and CutMix: two pictures in one, and their labels in the same proportion."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from depthwise.data.order import Ids, mix, uniform
from depthwise.data.warp import Images

PARTNER, WHICH, BOX_X, BOX_Y, FIRST, SECOND = 301, 302, 303, 304, 400, 500  # salts; the last two plus the try
NUM_TRIES = 64
"""At alpha 2, the largest allowed, one of six tries is taken: all 64 fail once in 100,000 draws."""


class Plan(NamedTuple):
    """How each sample of a batch is mixed."""

    partners: NDArray[np.intp]  # (B,): places in the batch, each once, none its own (but alone)
    shares: NDArray[np.float64]  # (B,): of the sample itself, in [0, 1]
    is_cut: NDArray[np.bool_]  # (B,): CutMix, else mixup

    def without(self, left: NDArray[np.bool_]) -> "Plan":
        """Return the plan with these samples, (B,), as they are."""
        return self._replace(shares=np.where(left, 1.0, self.shares))


def plan_mix(ids: Ids, seed: int, epoch: int, *, mixup: float, cutmix: float) -> Plan:
    """Draw partners and shares for the samples of a whole batch; where both kinds are on, either with probability 1/2.

    Shares are of Beta(alpha, alpha): Zhang et al. 2017, arXiv:1710.09412, section 2; Yun et al. 2019, arXiv:1905.04899,
    section 3.1. Drawn per sample, where the papers draw one per batch.
    """
    order = np.argsort(mix(ids, seed, epoch, PARTNER), kind="stable")
    partners = np.empty(len(ids), np.intp)
    partners[order] = np.roll(order, -1)
    chance = 0.0 if not cutmix else 1.0 if not mixup else 0.5
    is_cut = uniform(ids, seed, epoch, WHICH) < chance
    shares = np.where(is_cut, _beta(ids, seed, epoch, cutmix or 1.0), _beta(ids, seed, epoch, mixup or 1.0))
    return Plan(partners, shares, is_cut)


def _beta(ids: Ids, seed: int, epoch: int, alpha: float) -> NDArray[np.float64]:
    """Return a draw of Beta(alpha, alpha) for each id, by rejection (Joehnk 1964): no generator has to be kept."""
    result = np.full(len(ids), 0.5)
    is_open = np.ones(len(ids), bool)
    for number in range(NUM_TRIES):
        first, second = (
            (1 - uniform(ids[is_open], seed, epoch, salt + number)) ** (1 / alpha) for salt in (FIRST, SECOND)
        )
        total = first + second
        is_taken = (total <= 1) & (total > 0)
        places = np.flatnonzero(is_open)[is_taken]
        result[places] = (first / np.maximum(total, 1e-300))[is_taken]
        is_open[places] = False
        if not is_open.any():
            break
    return result


def blend(
    images: Images,
    others: Images,
    ids: Ids,
    seed: int,
    epoch: int,
    shares: NDArray[np.float64],
    is_cut: NDArray[np.bool_],
) -> tuple[Images, NDArray[np.float32]]:
    """Return the mixed pictures, and the share that each picture of `images` has in the result, to the pixel.

    images, others: uint8 (B, H, W, C), aligned. Mixup weighs with shares rounded to 1/256. CutMix puts a rectangle of
    the other picture in, its sides in the picture's proportion, its centre anywhere (Yun et al. 2019, equation 2).
    """
    side = images.shape[1]
    weights = np.rint(shares * 256).astype(np.uint16)
    exact = (weights / 256).astype(np.float32)
    result = np.empty_like(images)
    corners = _corners(ids, seed, epoch, shares, side)
    for number, weight in enumerate(weights):
        if is_cut[number]:
            left, top, right, bottom = corners[number]
            result[number] = images[number]
            result[number, top:bottom, left:right] = others[number, top:bottom, left:right]
            exact[number] = 1 - (right - left) * (bottom - top) / side**2
        else:
            sums = images[number] * weight + others[number] * (256 - weight)  # at most 255 * 256: fits 16 bits
            result[number] = (sums + 128) >> 8
    return result, exact


def _corners(ids: Ids, seed: int, epoch: int, shares: NDArray[np.float64], side: int) -> NDArray[np.int64]:
    """Return left, top, right, bottom of each rectangle, px, (B, 4), as far as it lies in the picture."""
    half = np.sqrt(1 - shares) * side / 2
    x, y = (uniform(ids, seed, epoch, salt) * side for salt in (BOX_X, BOX_Y))
    corners = np.stack([x - half, y - half, x + half, y + half], axis=1)
    return np.clip(np.rint(corners), 0, side).astype(np.int64)
