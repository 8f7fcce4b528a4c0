from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from depthwise.data import warp as module
from depthwise.data.warp import recolour, recolour_plain, warp, warp_plain

PHOTO = Path(__file__).parents[1] / "photos/chelsea.jpg"


def box(left, top, right, bottom, side) -> list[list[float]]:
    """The map of a box in px to a result of `side`."""
    return [[(right - left) / side, 0.0, left], [0.0, (bottom - top) / side, top]]


def turned(angle: float, zoom: float, x: float, y: float) -> list[list[float]]:
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    return [[cos, -sin, x], [sin, cos, y]]


MAPS = np.array(
    [
        box(0, 0, 40, 40, 24),  # smaller: antialiased
        box(3.3, 7.1, 20.2, 31.9, 24),
        box(30, 5, 10, 35, 24),  # mirrored
        box(-10, -10, 50, 50, 24),  # beyond the edges
        box(12, 12, 13, 13, 24),
        turned(0.4, 0.8, 5.0, 3.0),
        turned(-2.0, 2.5, 30.0, 40.0),
        [[1.0, 0.5, -3.0], [0.0, 1.0, 2.0]],
    ]
)


def pictures(number: int, channels: int, side: int = 40) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (number, side, side, channels), np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_compiled_twin_gives_the_same_bits(channels):
    images, rows = pictures(3, channels), np.arange(len(MAPS)) % 3
    assert np.array_equal(warp(images, rows, MAPS, 24), warp_plain(images, rows, MAPS, 24))


@pytest.mark.parametrize("channels", [1, 3])
def test_the_compiled_colours_are_the_plain_ones(channels):
    images = pictures(4, channels)
    matrices = np.random.default_rng(1).normal(0.5, 1, (4, channels, channels + 1)) * ([1] * channels + [60])
    assert np.array_equal(recolour(images, matrices), recolour_plain(images, matrices))


def test_without_numba_the_plain_twin_answers(monkeypatch):
    images, rows = pictures(3, 3), np.arange(len(MAPS)) % 3
    with_numba = warp(images, rows, MAPS, 24)
    monkeypatch.setattr(module, "_numba", lambda: None)
    assert np.array_equal(warp(images, rows, MAPS, 24), with_numba)


@pytest.mark.parametrize("way", [warp, warp_plain])
def test_an_upright_map_is_a_turn_by_nothing(way):
    """The fast way for maps along the axes has the bits of the one for all maps."""
    images = pictures(1, 3)
    nearly = MAPS[:5].copy()
    nearly[:, 0, 1] = 1e-15
    rows = np.zeros(5, np.intp)
    assert np.array_equal(way(images, rows, MAPS[:5], 24), way(images, rows, nearly, 24))


@pytest.mark.parametrize("edges", [(0, 0, 300, 300), (40, 25, 160, 145), (10, 80, 270, 290), (0, 0, 97, 211)])
def test_a_box_is_nearly_what_pillow_makes_of_it(edges):
    photo = Image.open(PHOTO).convert("RGB").crop((50, 0, 350, 300))
    expected = np.asarray(photo.resize((112, 112), Image.Resampling.BILINEAR, box=edges), int)
    found = warp(np.asarray(photo)[None], np.zeros(1, np.intp), np.array([box(*edges, 112)]), 112)[0].astype(int)
    inner = np.abs(found - expected)[2:-2, 2:-2]  # Pillow leaves out what lies beyond the edge, we repeat the edge
    assert inner.mean() < 0.3
    assert inner.max() <= 1
    assert np.abs(found - expected).mean() < 0.4


def test_a_picture_of_one_colour_stays_as_it_is():
    flat = np.full((1, 40, 40, 3), (7, 128, 255), np.uint8)
    assert (warp(flat, np.zeros(len(MAPS), np.intp), MAPS, 24) == (7, 128, 255)).all()


@pytest.mark.parametrize("angle", [np.pi / 2, np.pi, -np.pi / 2])
def test_a_quarter_turn_moves_pixels_without_changing_them(angle):
    image = pictures(1, 3, 24)
    cos, sin = np.cos(angle), np.sin(angle)
    shift = [12 - 12 * (cos - sin), 12 - 12 * (sin + cos)]
    matrix = np.array([[[cos, -sin, shift[0]], [sin, cos, shift[1]]]])
    found = warp(image, np.zeros(1, np.intp), matrix, 24)[0]
    assert np.array_equal(found, np.rot90(image[0], round(angle / (np.pi / 2))))


def test_whole_pixels_are_copied_with_the_bits_of_the_general_way():
    images, rows = pictures(4, 3), np.arange(4)
    maps = np.array(
        [[[1.0, 0, 3], [0, 1, -2]], [[-1, 0, 40], [0, 1, 0]], [[1, 0, 0], [0, -1, 41]], [[-1, 0, 36], [0, -1, 44]]]
    )
    copied = warp(images, rows, maps, 40)
    assert np.array_equal(copied, warp_plain(images, rows, maps, 40))
    assert np.array_equal(copied[1], images[1][:, ::-1])
    for shift in (-60, -40, 39, 40, 41, 90):  # nearly and wholly beyond the edge
        moved = maps + np.array([[0, 0, shift], [0, 0, -shift]])
        assert np.array_equal(warp(images, rows, moved, 40), warp_plain(images, rows, moved, 40))
    assert np.array_equal(warp(images[:, :8], rows, maps, 40), warp_plain(images[:, :8], rows, maps, 40))


def test_colours_are_rounded_and_kept_in_range():
    image = np.array([[[[10, 100, 250]]]], np.uint8)
    matrix = np.array([[[0.5, 0, 0, 0], [0, 1, 0, 0.6], [1, 1, 1, 0]]])
    assert recolour(image, matrix)[0, 0, 0].tolist() == [5, 101, 255]
    assert recolour(image, -matrix)[0, 0, 0].tolist() == [0, 0, 0]


def test_pictures_that_cannot_be_written_to_are_taken():
    images = pictures(2, 3)
    images.setflags(write=False)
    assert warp(images, np.arange(2), MAPS[:2], 24).shape == (2, 24, 24, 3)
