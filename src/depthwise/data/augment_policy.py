"""RandAugment and TrivialAugment: some operations of one table, drawn per picture.

RandAugment: Cubuk et al. 2019, arXiv:1909.13719, section 3; strengths of Cubuk et al. 2018, arXiv:1805.09501, table 6.
TrivialAugment: Mueller & Hutter 2021, arXiv:2103.10158, algorithm 1, the wide ranges of table 1.
Not from the papers: operations that move pixels go into the one resampling pass, before those that change values, and
what comes into view repeats the edge; 32 px of table 1 are 1/7 of the side, as of 224 px.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

from depthwise.data.augment_maps import about_centre, identity
from depthwise.data.order import Ids, uniform
from depthwise.data.warp import Images, Maps

KIND, SIGN, LEVEL = 141, 142, 143  # salts, plus 3 times the number of the operation: to 182
NUM_LEVELS = 31  # of TrivialAugment
MOST = 10.0
"""RandAugment's largest magnitude."""


class Op(NamedTuple):
    """One operation, and its greatest strength in either policy."""

    name: str
    randaugment: float  # at magnitude 10
    trivial: float
    is_signed: bool


TABLE = (
    Op("identity", 0, 0, False),
    Op("autocontrast", 0, 0, False),
    Op("equalize", 0, 0, False),
    Op("rotate", 30, 135, True),  # degrees
    Op("solarize", 256, 256, False),  # levels below 256 from which on values are inverted
    Op("color", 0.9, 0.99, True),  # factor minus 1, as in the next three
    Op("contrast", 0.9, 0.99, True),
    Op("brightness", 0.9, 0.99, True),
    Op("sharpness", 0.9, 0.99, True),
    Op("posterize", 4, 6, False),  # bits taken away
    Op("shear_x", 0.3, 0.99, True),
    Op("shear_y", 0.3, 0.99, True),
    Op("translate_x", 150 / 331, 1 / 7, True),  # share of the side
    Op("translate_y", 150 / 331, 1 / 7, True),
)  # fmt: skip

PIXELS: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "autocontrast": lambda image, _: ImageOps.autocontrast(image),
    "equalize": lambda image, _: ImageOps.equalize(image),
    "solarize": lambda image, strength: ImageOps.solarize(image, int(256 - strength)),
    "color": lambda image, strength: ImageEnhance.Color(image).enhance(1 + strength),
    "contrast": lambda image, strength: ImageEnhance.Contrast(image).enhance(1 + strength),
    "brightness": lambda image, strength: ImageEnhance.Brightness(image).enhance(1 + strength),
    "sharpness": lambda image, strength: ImageEnhance.Sharpness(image).enhance(1 + strength),
    "posterize": lambda image, strength: ImageOps.posterize(image, 8 - round(strength)),
}
"""What changes values, by Pillow, as in the papers' own code."""


class Drawn(NamedTuple):
    """What was drawn for a batch: T operations per picture."""

    kinds: NDArray[np.intp]  # (B, T), places in TABLE
    strengths: NDArray[np.float64]  # (B, T)


def draw_policy(ids: Ids, seed: int, epoch: int, policy: str, *, num_ops: int, magnitude: float) -> Drawn:
    """Draw `num_ops` operations of strength `magnitude` (randaugment), or one of any strength (trivial), or none."""
    count = {"none": 0, "randaugment": num_ops, "trivial": 1}[policy]
    kinds, strengths = np.zeros((len(ids), count), np.intp), np.zeros((len(ids), count))
    greatest = np.array([op.randaugment if policy == "randaugment" else op.trivial for op in TABLE])
    is_signed = np.array([op.is_signed for op in TABLE])
    for t in range(count):
        kinds[:, t] = (uniform(ids, seed, epoch, KIND + 3 * t) * len(TABLE)).astype(np.intp)
        level = np.floor(uniform(ids, seed, epoch, LEVEL + 3 * t) * NUM_LEVELS) / (NUM_LEVELS - 1)
        share = magnitude / MOST if policy == "randaugment" else level
        is_negative = is_signed[kinds[:, t]] & (uniform(ids, seed, epoch, SIGN + 3 * t) < 0.5)
        strengths[:, t] = np.where(is_negative, -1, 1) * share * greatest[kinds[:, t]]
    return Drawn(kinds, strengths)


def policy_maps(drawn: Drawn) -> Maps:
    """Return the drawn moves of pixels, multiplied, (B, 3, 3)."""
    maps = identity(len(drawn.kinds))
    for kinds, strengths in zip(drawn.kinds.T, drawn.strengths.T, strict=True):
        for name in ("rotate", "shear_x", "shear_y", "translate_x", "translate_y"):
            strength = np.where(kinds == _place(name), strengths, 0.0)
            if strength.any():
                maps = maps @ _move(name, strength)
    return maps


def _move(name: str, strength: NDArray[np.float64]) -> Maps:
    if name == "rotate":
        angle = np.deg2rad(strength)
        return about_centre(np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle))
    if name.startswith("shear"):
        return about_centre(1.0, strength, 0.0, 1.0) if name == "shear_x" else about_centre(1.0, 0.0, strength, 1.0)
    maps = identity(len(strength))
    maps[:, 0 if name == "translate_x" else 1, 2] = strength
    return maps


def _place(name: str) -> int:
    return next(number for number, op in enumerate(TABLE) if op.name == name)


def change_pixels(images: Images, drawn: Drawn) -> None:
    """Apply the drawn changes of values, in their order, to `images`, uint8 (B, H, W, C), in place."""
    for number, (kinds, strengths) in enumerate(zip(*drawn, strict=True)):
        changes = [(PIXELS[TABLE[k].name], s) for k, s in zip(kinds, strengths, strict=True) if TABLE[k].name in PIXELS]
        if not changes:
            continue
        image = Image.fromarray(images[number, :, :, 0] if images.shape[3] == 1 else images[number])
        for change, strength in changes:
            image = change(image, float(strength))
        images[number] = np.asarray(image).reshape(images.shape[1:])
