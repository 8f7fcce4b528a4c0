"""What one look at a picture tells of it: hashes of its file, its pixels and its look, and what is odd about it."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from depthwise.data.decode import Pixels, Traits, decode_with_traits
from depthwise.data.turned import coefficients

HASH_SIDE, LOW = 32, 8
INNER = 0.92
"""Side of the middle that is hashed as well: a picture cut at its edges looks like the middle of its original."""
LOOK_SIDE = 256
"""Longest side, px, at which contrast and sharpness are measured: they must not depend on a photo's megapixels."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A usable picture, without its pixels."""

    content: str
    """First 32 hex digits of the SHA-256 of the file."""
    pixels: str
    """The same of what decode makes of it: size and RGB."""
    look: int
    """64-bit perceptual hash."""
    turned_looks: int
    """Those of the picture mirrored and turned, in the order of `turned.FORMS`, the last one lowest: 448 bits."""
    inner_look: int
    """The same of its middle."""
    width: int
    """px, upright."""
    height: int
    contrast: float
    """Standard deviation of grey, in levels of 255."""
    sharpness: float
    """Variance of the Laplacian over variance of grey; below about 0.005 everything is soft."""
    traits: Traits


def fingerprint(path: Path, content: str) -> Fingerprint:
    """Decode and measure a picture whose content hash is known. Raises UnusablePicture."""
    pixels, traits = decode_with_traits(path, 3)
    image = Image.fromarray(pixels)
    grey = image.convert("L")
    small = grey.copy()
    small.thumbnail((LOOK_SIDE, LOOK_SIDE), Image.Resampling.BILINEAR)
    low = _low_coefficients(grey)
    contrast, sharpness = _measure(np.asarray(small, np.float64))
    return Fingerprint(
        content=content,
        pixels=_hash(pixels),
        look=_bits(low),
        turned_looks=_joined(map(_bits, coefficients(low))),
        inner_look=perceptual_hash(_middle(grey)),
        width=image.width,
        height=image.height,
        contrast=contrast,
        sharpness=sharpness,
        traits=traits,
    )


def perceptual_hash(grey: Image.Image) -> int:
    """Return 64 bits of a grey picture: which of the 8 x 8 lowest cosine coefficients lie above their median.

    Zauner 2010, "Implementation and benchmarking of perceptual image hash functions", section 3.2.1; bit for bit what
    imagehash.phash gives, which needs SciPy and PyWavelets for it.
    """
    return _bits(_low_coefficients(grey))


def _low_coefficients(grey: Image.Image) -> NDArray[np.float64]:
    shrunk = np.asarray(grey.resize((HASH_SIDE, HASH_SIDE), Image.Resampling.LANCZOS), np.float64)
    found: NDArray[np.float64] = (_COSINES @ shrunk @ _COSINES.T)[:LOW, :LOW]
    return found


def _bits(low: NDArray[np.float64]) -> int:
    return int.from_bytes(np.packbits(low.reshape(-1) > np.median(low)).tobytes(), "big")


def _joined(looks: Iterable[int]) -> int:
    return int.from_bytes(b"".join(look.to_bytes(8, "big") for look in looks), "big")


def _cosines() -> NDArray[np.float64]:
    """Return the matrix of the cosine transform (DCT-II), rows by frequency."""
    n = np.arange(HASH_SIDE)
    return np.cos(np.pi * np.outer(n, 2 * n + 1) / (2 * HASH_SIDE))


_COSINES = _cosines()


def _middle(image: Image.Image) -> Image.Image:
    left, top = image.width * (1 - INNER) / 2, image.height * (1 - INNER) / 2
    box = (
        round(left),
        round(top),
        max(round(left) + 1, round(image.width - left)),
        max(round(top) + 1, round(image.height - top)),
    )
    return image.crop(box)


def _hash(pixels: Pixels) -> str:
    digest = hashlib.sha256(str(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()[:32]


def _measure(grey: NDArray[np.float64]) -> tuple[float, float]:
    """Return contrast and sharpness."""
    contrast = float(grey.std())
    if min(grey.shape) < 3 or not contrast:
        return contrast, 1.0
    inside = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inside
    return contrast, float(laplacian.var() / contrast**2)
