"""Several views of one photo, whose probabilities are averaged: cut from pixels, so that any engine can take them.

`flip`: the picture and its mirror image. `10`: four corners and the centre of a larger picture, and their mirror images
(Krizhevsky et al. 2012, section 4.1: 224 of 256 px). `multiscale`: the centre of the picture at three sizes (1, 8/7 and
9/7: 224 of 256 and 288 px, from Szegedy et al. 2014, section 7), and mirror images; He et al. 2015 (section 3.4) let
the network slide over larger pictures instead, which a network of fixed input cannot do.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from depthwise.data.audit import Skipped
from depthwise.data.cache import read_picture
from depthwise.data.decode import Pixels, decode, from_array
from depthwise.data.geometry import Geometry, apply
from depthwise.errors import UnusablePicture

ViewKind = Literal["1", "flip", "10", "multiscale"]
Photo = str | os.PathLike[str] | bytes | bytearray | memoryview | NDArray[np.uint8]
"""A file's path, the bytes in a file, or pixels: uint8 (H, W, 3) in RGB order, or (H, W) in grey."""
GIVEN = Path("the photo")
LARGER = 256 / 224
SCALES = (1.0, 256 / 224, 288 / 224)


class Views(NamedTuple):
    """What the network sees of one photo."""

    single: Pixels  # (S, S, C), as everywhere else
    averaged: NDArray[np.uint8]  # (V, S, S, C)


def view(pixels: Pixels, geometry: Geometry, kind: ViewKind) -> Views:
    """Return the views of a decoded photo, uint8 (H, W, C); of kind "1" the single one is averaged with itself."""
    single = apply(pixels, geometry)
    if kind == "1":
        return Views(single, single[None])
    if kind == "flip":
        return Views(single, _mirrored([single]))
    side = geometry.image_size
    if kind == "10":
        large = enlarged(pixels, geometry, LARGER)
        room = large.shape[0] - side
        places = [(0, 0), (0, room), (room, 0), (room, room), (room // 2, room // 2)]
        return Views(single, _mirrored([large[y : y + side, x : x + side] for y, x in places]))
    return Views(single, _mirrored([_centre(enlarged(pixels, geometry, scale), side) for scale in SCALES]))


def enlarged(pixels: Pixels, geometry: Geometry, scale: float) -> Pixels:
    """Return the photo as `geometry` gives it, but `scale` times as large.

    A geometry that cuts out the centre (crop_share 0.875, say) shows that much more of the photo first, as long as
    there is more: at 8/7 its picture of 224 px is the centre of one of 256 px that shows the whole short side.
    """
    side = round(geometry.image_size * scale)
    return apply(pixels, replace(geometry, image_size=side, crop_share=min(1.0, geometry.crop_share * scale)))


def read_views(photo: Photo, geometry: Geometry, kind: ViewKind) -> Views | Skipped:
    """Return the views of a photo, or why it cannot be used; what is no path is called GIVEN."""
    path = Path(photo) if isinstance(photo, str | os.PathLike) else GIVEN
    if kind == "1" and path is not GIVEN:
        single = read_picture(path, geometry)
        return single if isinstance(single, Skipped) else Views(single, single[None])
    try:
        if isinstance(photo, np.ndarray):
            return view(from_array(photo, geometry.channels), geometry, kind)
        source = photo if isinstance(photo, str | os.PathLike) else bytes(photo)
        return view(decode(source, geometry.channels), geometry, kind)
    except UnusablePicture as error:
        return Skipped(path, error.reason, error.detail)


def _centre(pixels: Pixels, side: int) -> Pixels:
    start = (pixels.shape[0] - side) // 2
    return pixels[start : start + side, start : start + side]


def _mirrored(crops: list[Pixels]) -> NDArray[np.uint8]:
    return np.stack([*crops, *(crop[:, ::-1] for crop in crops)])
