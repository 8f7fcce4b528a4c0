import numpy as np
import pytest

from depthwise.data.audit import Skipped
from depthwise.data.geometry import Geometry, apply
from depthwise.data.views import enlarged, read_views, view

RAMP = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
PHOTO = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)


def test_one_view_is_what_the_network_always_sees():
    found = view(PHOTO, Geometry(14), "1")
    assert (found.single == apply(PHOTO, Geometry(14))).all()
    assert (found.averaged == found.single[None]).all()


def test_flip_adds_the_mirror_image():
    found = view(RAMP, Geometry(8), "flip")
    assert (found.averaged[0] == RAMP).all()
    assert (found.averaged[1] == RAMP[:, ::-1]).all()


def test_ten_views_are_corners_centre_and_their_mirror_images():
    """56 px of a picture of 64 (224 of 256): corners at 0 and 8, the centre at 4."""
    picture = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    found = view(picture, Geometry(56), "10")
    corners = [(0, 0), (0, 8), (8, 0), (8, 8), (4, 4)]
    assert found.averaged.shape == (10, 56, 56, 3)
    for place, (top, left) in enumerate(corners):
        crop = picture[top : top + 56, left : left + 56]
        assert (found.averaged[place] == crop).all()
        assert (found.averaged[place + 5] == crop[:, ::-1]).all()


@pytest.mark.parametrize("fit", ["squash", "letterbox", "crop"])
def test_three_sizes_begin_with_the_single_view(fit):
    found = view(PHOTO, Geometry(14, fit=fit), "multiscale")
    assert found.averaged.shape == (6, 14, 14, 3)
    assert (found.averaged[0] == found.single).all()
    assert (found.averaged[3] == found.single[:, ::-1]).all()
    large = apply(PHOTO, Geometry(18, fit=fit))  # 9/7 of 14
    assert (found.averaged[2] == large[2:16, 2:16]).all()


def test_a_centre_crop_is_the_middle_of_the_larger_picture():
    """ImageNet's usual geometry: 224 px of a short side of 256. The larger picture shows all of the short side."""
    usual = Geometry(56, fit="crop", crop_share=0.875)
    large = enlarged(PHOTO, usual, 256 / 224)
    assert large.shape == (64, 64, 3)
    assert (large == apply(PHOTO, Geometry(64, fit="crop"))).all()
    assert np.abs(large[4:60, 4:60].astype(int) - apply(PHOTO, usual)).max() <= 1  # rounding apart


def test_grey_stays_grey_and_what_cannot_be_read_is_said(tmp_path):
    assert view(PHOTO[:, :, :1], Geometry(14, 1), "10").averaged.shape == (10, 14, 14, 1)
    assert isinstance(read_views(tmp_path / "none.png", Geometry(8), "10"), Skipped)
