"""The resizing in the graph is Pillow's to the bit."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from depthwise.data.geometry import Geometry, apply
from depthwise.deploy.resize import Resize


@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    size=st.integers(1, 48),
    channels=st.sampled_from([1, 3]),
    fit=st.sampled_from(["squash", "letterbox", "crop"]),
    resample=st.sampled_from(["bilinear", "bicubic"]),
    crop_share=st.sampled_from([1.0, 0.9, 0.875, 0.3]),
    seed=st.integers(0, 1000),
)
def test_resizing_is_that_of_the_geometry(height, width, size, channels, fit, resample, crop_share, seed):
    geometry = Geometry(size, channels, fit, resample=resample, crop_share=crop_share)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    if (height, width) == (size, size):
        return  # taken as it is, before the resizing
    found = Resize(geometry)(torch.from_numpy(pixels)[None])[0].permute(1, 2, 0)
    assert np.array_equal(found.numpy(), apply(pixels, geometry).astype(np.float32))


@pytest.mark.parametrize("fit", ["squash", "letterbox", "crop"])
def test_a_large_photo_too(fit):
    geometry = Geometry(64, 3, fit, crop_share=0.875)
    pixels = np.random.default_rng(0).integers(0, 256, (700, 1100, 3), np.uint8)
    found = Resize(geometry)(torch.from_numpy(pixels)[None])[0].permute(1, 2, 0)
    assert np.array_equal(found.numpy(), apply(pixels, geometry).astype(np.float32))
