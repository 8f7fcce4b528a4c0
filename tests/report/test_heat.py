"""The picture of a map over its photo: where colours lie, and what is written below is too long or not there."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from depthwise.report.heat import COLOURS, COVER, colour, draw_heat, enlarge
from depthwise.workflows.explaining import Explanation


def explanation(heat, size=64, channels=3, **other):
    pixels = np.full((size, size, channels), 100, np.uint8)
    told = {"label": "cat", "probability": 0.5, "answer": "cat", "layer": "x"} | other
    return Explanation(Path("p.jpg"), pixels, map=np.array(heat, np.float32), **told)


def drawn(found):
    return np.asarray(Image.open(io.BytesIO(draw_heat(found)))).astype(int)


def test_the_highest_place_has_the_last_colour_and_nothing_leaves_the_photo_grey():
    pixels = drawn(explanation([[0, 0], [0, 8]]))
    assert pixels.shape[1] == 448 and pixels.shape[0] > 448  # 7 times 64, and the legend
    np.testing.assert_allclose(pixels[440, 440], (1 - COVER) * 100 + COVER * COLOURS[-1], atol=1)
    np.testing.assert_array_equal(pixels[:100, :100], 100)


def test_the_map_lies_as_the_photo_does():
    pixels = drawn(explanation([[0, 0, 1], [0, 0, 0], [0, 0, 0]]))
    changed = np.abs(pixels[:448] - 100).sum(2) > 20
    rows, columns = np.nonzero(changed)
    assert rows.max() < 300 and columns.min() > 148  # above on the right


def test_a_map_of_nothing_is_the_photo_and_says_so():
    nothing, same = drawn(explanation([[0, 0], [0, 0]])), drawn(explanation([[0, 0], [0, 1e-30]]))
    np.testing.assert_array_equal(nothing[:448], 100)
    assert (nothing[448:] != same[448:]).any()


def test_enlarging_interpolates_between_the_middles_of_places():
    found = enlarge(np.array([[0, 4]], np.float32), 4)
    np.testing.assert_allclose(found, [[0, 0.25, 0.75, 1]] * 4)


def test_colours_grow_lighter():
    light = colour(np.linspace(0, 1, 50)) @ np.array([0.299, 0.587, 0.114])
    assert (np.diff(light) > 0).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_pictures_and_long_and_foreign_names(channels):
    long = explanation([[0, 1], [0, 0]], channels=channels, label="crème brûlée 猫 " * 30, answer="y" * 300)
    pixels = drawn(long)
    assert pixels.shape[1:] == (448, 3)
    assert (pixels[448:, :4] == 255).all() and (pixels[448:, -4:] == 255).all()  # nothing runs out of the picture


def test_large_photos_keep_their_size():
    assert drawn(explanation([[1, 0], [0, 0]], size=500)).shape[1] == 500
    assert drawn(replace(explanation([[1, 0], [0, 0]], size=300), answer="dog")).shape[1] == 600
