"""A map of places laid over the photo that it is of, as a PNG file."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from depthwise.workflows.explaining import Explanation

SIDE = 448
"""Least width of the picture, px: smaller photos are enlarged by a whole number."""
MARGIN, LINE = 12, 22
COLOURS = np.array([(43, 24, 89), (138, 34, 106), (221, 81, 58), (250, 167, 42), (252, 246, 164)], np.float64)
"""From nothing to most, each lighter than the one before: it reads in grey, too."""
INK, GREY, PAPER = (31, 41, 51), (102, 114, 127), (255, 255, 255)
COVER = 0.75
"""How much of the photo's own grey the highest place hides."""


def draw_heat(found: Explanation) -> bytes:
    """Return the photo in grey under its map in colours, and below it what it is about, as a PNG file's bytes.

    The map's highest place has the last colour, 0 the first: the picture tells where, not how much. Between the map's
    places colours are interpolated.
    """
    size = found.pixels.shape[0] * -(-SIDE // found.pixels.shape[0])
    picture = Image.new("RGB", (size, size + 3 * LINE + 2 * MARGIN), PAPER)
    picture.paste(overlay(found, size), (0, 0))
    _legend(picture, found, size)
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def overlay(found: Explanation, size: int) -> Image.Image:
    """Return the photo in grey under its map in colours, size x size."""
    photo = Image.fromarray(found.pixels.squeeze()).resize((size, size), Image.Resampling.BILINEAR)
    grey = np.asarray(photo.convert("L"), np.float64)[..., None]  # (size, size, 1)
    return _covered(grey, enlarge(found.map, size))


def enlarge(heat: NDArray[np.float32], size: int) -> NDArray[np.float64]:
    """Return a map (h, w) as shares of its highest place, in [0, 1], interpolated to (size, size)."""
    highest = float(heat.max())
    shares = (heat / highest if highest > 0 else heat).astype(np.float32)
    return np.asarray(Image.fromarray(shares).resize((size, size), Image.Resampling.BILINEAR), np.float64).clip(0, 1)


def colour(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return colours (..., 3) for shares in [0, 1]."""
    stops = np.linspace(0, 1, len(COLOURS))
    return np.stack([np.interp(shares, stops, COLOURS[:, channel]) for channel in range(3)], -1)


def _covered(grey: NDArray[np.float64], shares: NDArray[np.float64]) -> Image.Image:
    """Return grey levels (h, w, 1) under the colours of shares (h, w): the higher, the less grey is seen."""
    cover = COVER * shares[..., None]
    return Image.fromarray(np.round((1 - cover) * grey + cover * colour(shares)).astype(np.uint8))


def _legend(picture: Image.Image, found: Explanation, top: int) -> None:
    draw, width = ImageDraw.Draw(picture), picture.width
    large, small = ImageFont.load_default(17), ImageFont.load_default(12)
    head = f"{_shortened(found.label, width - 90, large)}"
    draw.text((MARGIN, top + MARGIN - 3), head, INK, large)
    draw.text((width - MARGIN, top + MARGIN - 3), f"{found.probability:.1%}", INK, large, anchor="ra")
    asked = "the answer" if found.label == found.answer else f"asked for; the answer is {found.answer}"
    if not found.map.any():
        asked += "; nothing here speaks for it"
    draw.text((MARGIN, top + MARGIN + LINE), _shortened(asked, width - 2 * MARGIN, small), GREY, small)
    middle = top + MARGIN + 2 * LINE
    draw.text((MARGIN, middle), "nothing", GREY, small)
    bar = _covered(np.full((10, 120, 1), 128.0), np.linspace(0, 1, 120)[None].repeat(10, 0))
    picture.paste(bar, (MARGIN + 52, middle + 3))
    draw.text((MARGIN + 180, middle), "speaks most for it", GREY, small)
    height, across = found.map.shape
    draw.text((width - MARGIN, middle), f"Grad-CAM, {across} x {height} places", GREY, small, anchor="ra")


def _shortened(words: str, width: float, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    """Return the words, cut where they are too long."""
    if font.getlength(words) <= width:
        return words
    while words and font.getlength(words + "...") > width:
        words = words[:-1]
    return words + "..."
