"""Pictures inside a page: decoded, made small and encoded again by us, so that no byte of a foreign file gets there."""

import base64
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from depthwise.data.decode import decode
from depthwise.errors import UnusablePicture

SIDE, QUALITY = 192, 80
SMALL = 64
"""Pictures up to this side are kept exactly, as PNG: the JPEG's blocks would be seen."""


@lru_cache(maxsize=2048)
def thumbnail(path: Path) -> str:
    """Return the picture as a data address, or '' when it cannot be read."""
    try:
        image = Image.fromarray(decode(path, 3))
    except UnusablePicture:
        return ""
    return encoded(image)


def of_pixels(pixels: NDArray[np.uint8]) -> str:
    """Return a picture (H, W, C) as a data address."""
    return encoded(Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels))


def encoded(image: Image.Image) -> str:
    """Return a picture, made at most SIDE px wide and high, as a data address."""
    image.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR)
    return exact(image) if max(image.size) <= SMALL else _address(image, "JPEG", quality=QUALITY)


def exact(image: Image.Image) -> str:
    """Return a picture as it is, as a data address."""
    return _address(image, "PNG", optimize=True)


def _address(image: Image.Image, kind: str, **options: Any) -> str:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
