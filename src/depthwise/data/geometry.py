"""The one way from a picture of any size to the network's input: stored in the model file, used by every reader."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image

from depthwise.data.decode import Channels, Pixels

Fit = Literal["squash", "letterbox", "crop"]
RESAMPLE = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
FILL = 128
"""Grey of the bars that letterbox adds."""


@dataclass(frozen=True)
class Geometry:
    """How pixels become a network's input."""

    image_size: int
    """Side of the square input, px."""
    channels: Channels = 3
    """1: grey, 3: RGB."""
    fit: Fit = "squash"
    """squash: both sides to image_size; letterbox: long side, grey bars; crop: a square of the centre."""
    mean: tuple[float, ...] = ()
    """Per channel, of values in [0, 1]; 0.5 each unless given."""
    std: tuple[float, ...] = ()
    """Per channel, of values in [0, 1]; 0.5 each unless given."""
    resample: Literal["bilinear", "bicubic"] = "bilinear"
    """How pixels are interpolated; both with antialiasing."""
    crop_share: float = 1.0
    """With crop: the side of the square that is cut out, as a share of the short side."""

    def __post_init__(self) -> None:
        if self.image_size < 1 or self.channels not in (1, 3):
            raise ValueError(f"image_size={self.image_size}, channels={self.channels}: need >= 1, and 1 or 3")
        for name in ("mean", "std"):
            if not getattr(self, name):
                object.__setattr__(self, name, (0.5,) * self.channels)
        if not len(self.mean) == len(self.std) == self.channels or min(self.std) <= 0:
            raise ValueError(f"mean={self.mean}, std={self.std}: need {self.channels} values each, std above 0")
        for name, allowed in (("fit", get_args(Fit)), ("resample", tuple(RESAMPLE))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r}: need one of {', '.join(allowed)}")
        if not 0 < self.crop_share <= 1:
            raise ValueError(f"crop_share={self.crop_share}: need a share above 0, at most 1")

    def to_json(self) -> dict[str, Any]:
        """Return plain values; `from_json` is the way back."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Geometry":
        """Build from `to_json`'s values. Raises ValueError, TypeError or KeyError when they do not fit."""
        return cls(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})


def apply(pixels: Pixels, geometry: Geometry) -> Pixels:
    """Return uint8 (image_size, image_size, channels) from uint8 (H, W, channels), by antialiased resizing.

    A picture that has the size already is taken as it is.
    """
    if pixels.shape[:2] == (geometry.image_size, geometry.image_size):
        return pixels
    return apply_to_image(Image.fromarray(pixels[:, :, 0] if geometry.channels == 1 else pixels), geometry)


def apply_to_image(image: Image.Image, geometry: Geometry) -> Pixels:
    """Return what `apply` returns, from a picture in mode L or RGB: no array of its full size has to be made."""
    side = geometry.image_size
    width, height = image.size
    if (height, width) == (side, side):
        resized = image
    elif geometry.fit == "squash":
        resized = _resize(image, (side, side), (0, 0, width, height), geometry)
    elif geometry.fit == "crop":
        short = min(width, height) * geometry.crop_share
        left, top = (width - short) / 2, (height - short) / 2
        resized = _resize(image, (side, side), (left, top, left + short, top + short), geometry)
    else:
        scale = side / max(width, height)
        fitted = max(1, round(width * scale)), max(1, round(height * scale))
        resized = Image.new(image.mode, (side, side), FILL if geometry.channels == 1 else (FILL, FILL, FILL))
        inner = _resize(image, fitted, (0, 0, width, height), geometry)
        resized.paste(inner, ((side - fitted[0]) // 2, (side - fitted[1]) // 2))
    return np.array(resized, np.uint8).reshape(side, side, geometry.channels)


def _resize(
    image: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float], geometry: Geometry
) -> Image.Image:
    """Resize `box` along rows, then along columns. Left to itself, Pillow chooses the order, each version its own way.

    Values are rounded in between, so another order gives other pixels.
    """
    (width, height), (left, top, right, bottom) = size, box
    resample = RESAMPLE[geometry.resample]
    rows = image.resize((width, image.height), resample, box=(left, 0, right, image.height))
    return rows.resize((width, height), resample, box=(0, top, width, bottom))
