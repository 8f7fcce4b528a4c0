import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthwise.data.geometry import Geometry, apply


def grey(rows: list[list[int]]) -> np.ndarray:
    return np.array(rows, np.uint8)[:, :, None]


def geometry(side: int, fit: str = "squash", channels: int = 1) -> Geometry:
    return Geometry(side, channels, fit, mean=(0.5,) * channels, std=(0.5,) * channels)


def test_squash_resizes_both_sides_without_aliasing():
    # halved, a pixel weighs its four neighbours in a triangle: .75 .75 .25 (the fourth is outside), so 25 / 1.75 = 14.3
    result = apply(grey([[0, 0, 100, 100]] * 2), geometry(2))
    assert result[:, :, 0].tolist() == [[14, 86], [14, 86]]


def test_squash_enlarges_between_pixels():
    result = apply(grey([[0, 100]]), geometry(4))  # centres of the new pixels lie at -0.25, 0.25, 0.75, 1.25
    assert result[:, :, 0].tolist() == [[0, 25, 75, 100]] * 4


def test_crop_takes_the_centre_of_a_wide_picture():
    rows = [[0, 1, 10, 20, 2, 3], [4, 5, 30, 40, 6, 7]]
    assert apply(grey(rows), geometry(2, "crop"))[:, :, 0].tolist() == [[10, 20], [30, 40]]


def test_crop_takes_the_centre_of_a_tall_picture():
    rows = [[1, 2], [10, 20], [30, 40], [3, 4]]
    assert apply(grey(rows), geometry(2, "crop"))[:, :, 0].tolist() == [[10, 20], [30, 40]]


def test_crop_of_an_odd_difference_takes_half_a_pixel_from_each_end():
    result = apply(grey([[0, 100, 200, 100, 0]] * 4), geometry(4, "crop"))
    assert result[:, :, 0].tolist() == [[50, 150, 150, 50]] * 4


def test_letterbox_puts_grey_bars_above_and_below_a_wide_picture():
    result = apply(grey([[9] * 4] * 2), geometry(4, "letterbox"))
    assert result[:, :, 0].tolist() == [[128] * 4, [9] * 4, [9] * 4, [128] * 4]


def test_letterbox_puts_grey_bars_beside_a_tall_picture():
    result = apply(np.full((4, 2, 3), (1, 2, 3), np.uint8), geometry(4, "letterbox", 3))
    assert result.tolist() == [[[128] * 3, [1, 2, 3], [1, 2, 3], [128] * 3]] * 4


def test_letterbox_leaves_one_line_of_a_very_long_picture():
    result = apply(grey([[9] * 1000]), geometry(8, "letterbox"))
    assert result[:, 0, 0].tolist() == [128, 128, 128, 9, 128, 128, 128, 128]


@pytest.mark.parametrize("fit", ["squash", "letterbox", "crop"])
def test_a_picture_of_the_right_size_is_not_touched(fit):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 5, 3), np.uint8)
    assert np.array_equal(apply(pixels, geometry(5, fit, 3)), pixels)


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 24),
    st.sampled_from(["squash", "letterbox", "crop"]),
    st.sampled_from([1, 3]),
)
def test_any_picture_becomes_a_square_of_its_own_colour(height, width, side, fit, channels):
    colour = np.array([200, 100, 50][:channels], np.uint8)
    result = apply(np.full((height, width, channels), colour, np.uint8), geometry(side, fit, channels))
    assert result.shape == (side, side, channels)
    assert result.dtype == np.uint8
    is_colour, is_bar = (result == colour).all(axis=2), (result == 128).all(axis=2)
    assert is_colour.any()
    assert (is_colour | is_bar).all() if fit == "letterbox" else is_colour.all()


@pytest.mark.parametrize("fit", ["squash", "letterbox", "crop"])
def test_geometry_survives_json(fit):
    original = Geometry(96, 3, fit, mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 3.0))
    assert Geometry.from_json(json.loads(json.dumps(original.to_json()))) == original


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size": 0}, "image_size=0, channels=1: need >= 1, and 1 or 3"),
        ({"channels": 4}, "image_size=8, channels=4: need >= 1, and 1 or 3"),
        ({"channels": 3}, "need 3 values each"),
        ({"mean": (0.5, 0.5)}, "need 1 values each"),
        ({"std": (0.0,)}, "std above 0"),
        ({"fit": "stretch"}, "fit='stretch': need one of squash, letterbox, crop"),
    ],
)
def test_what_does_not_fit_together_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Geometry.from_json({**geometry(8).to_json(), **change})


@pytest.mark.parametrize(
    ("values", "error"), [({"mean": [0.5]}, KeyError), ({"mean": [0.5], "std": [0.5], "sides": 2}, TypeError)]
)
def test_json_of_something_else_is_refused(values, error):
    with pytest.raises(error):
        Geometry.from_json(values)


def test_crop_share_keeps_the_centre_of_the_short_side():
    pixels = np.zeros((8, 12, 3), np.uint8)
    pixels[2:6, 4:8] = 255  # the middle 4 x 4 of the middle 8 x 8
    assert (apply(pixels, Geometry(4, fit="crop", crop_share=0.5)) == 255).all()
    assert not (apply(pixels, Geometry(4, fit="crop")) == 255).all()
    square = pixels[:, 2:10]
    assert apply(square, Geometry(8, fit="crop", crop_share=0.5)) is square  # has the size already


def test_bicubic_overshoots_where_bilinear_does_not():
    step = np.full((4, 4, 1), 100, np.uint8)
    step[:, 2:] = 150
    linear, cubic = (apply(step, Geometry(16, 1, resample=kind)) for kind in ("bilinear", "bicubic"))
    assert (linear.min(), linear.max()) == (100, 150)
    assert cubic.min() < 100 and cubic.max() > 150


@pytest.mark.parametrize("wrong", [{"resample": "nearest"}, {"crop_share": 0}, {"crop_share": 1.2}])
def test_other_resampling_and_shares_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Geometry(4, **wrong)


def test_a_geometry_written_by_an_earlier_version_is_read():
    old = {"image_size": 4, "channels": 1, "fit": "squash", "mean": [0.5], "std": [0.5]}
    assert Geometry.from_json(old) == Geometry(4, 1)
