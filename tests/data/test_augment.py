import numpy as np
import pytest

from depthwise.data import augment
from depthwise.data.augment import random_crop, random_flip

IDS = np.arange(400, dtype=np.uint64)
SQUARE = np.array([[[1, 2, 3], [4, 5, 6], [7, 8, 9]]], np.uint8)[..., None]  # (1, 3, 3, 1)


def draw(monkeypatch, **values: float) -> None:
    """Let `uniform` give these numbers for the salts of those names, to each sample."""
    given = {getattr(augment, name): value for name, value in values.items()}
    monkeypatch.setattr(augment, "uniform", lambda ids, seed, epoch, salt: np.full(len(ids), given[salt]))


def pictures(number: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (number, 6, 6, channels), np.uint8)


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        (0.0, 0.0, [[1, 1, 2], [1, 1, 2], [4, 4, 5]]),
        (0.99, 0.0, [[2, 3, 3], [2, 3, 3], [5, 6, 6]]),
        (0.0, 0.99, [[4, 4, 5], [7, 7, 8], [7, 7, 8]]),
        (0.99, 0.99, [[5, 6, 6], [8, 9, 9], [8, 9, 9]]),
        (0.5, 0.5, [[1, 2, 3], [4, 5, 6], [7, 8, 9]]),
        (0.5, 0.0, [[1, 2, 3], [1, 2, 3], [4, 5, 6]]),
    ],
)
def test_a_shift_by_one_repeats_the_edge(monkeypatch, x, y, expected):
    draw(monkeypatch, CROP_X=x, CROP_Y=y)
    assert random_crop(SQUARE, IDS[:1], 0, 0, fraction=1 / 3)[0, :, :, 0].tolist() == expected


def test_every_shift_happens_about_equally_often():
    result = random_crop(SQUARE.repeat(400, axis=0), IDS, 0, 0, fraction=1 / 3)
    _, counts = np.unique(result.reshape(400, 9), axis=0, return_counts=True)
    assert len(counts) == 9  # x and y are drawn apart: all pairs of -1, 0, 1
    assert counts.min() > 20


@pytest.mark.parametrize(("fraction", "reach"), [(0.08, 1), (0.3, 3), (0.5, 5)])
def test_the_largest_shift_is_the_given_share_of_the_side(fraction, reach):
    ramp = np.tile(np.arange(10, dtype=np.uint8), (400, 10, 1))[..., None]
    shifts = random_crop(ramp, IDS, 0, 0, fraction=fraction)[:, 5, 5, 0].astype(int) - 5
    assert set(shifts) == set(range(-min(reach, 5), min(reach, 4) + 1))


@pytest.mark.parametrize("fraction", [0.0, 0.08])
def test_a_share_below_half_a_pixel_shifts_nothing(fraction):
    images = pictures(5)
    assert np.array_equal(random_crop(images, IDS[:5], 0, 0, fraction=fraction), images)


def test_a_flip_mirrors_left_to_right(monkeypatch):
    draw(monkeypatch, FLIP=0.49)
    assert random_flip(SQUARE, IDS[:1], 0, 0)[0, :, :, 0].tolist() == [[3, 2, 1], [6, 5, 4], [9, 8, 7]]


def test_the_other_half_is_not_flipped(monkeypatch):
    draw(monkeypatch, FLIP=0.5)
    assert np.array_equal(random_flip(SQUARE, IDS[:1], 0, 0), SQUARE)


def test_about_half_of_all_pictures_are_flipped():
    result = random_flip(SQUARE.repeat(400, axis=0), IDS, 0, 0)
    assert 160 < (result[:, 0, 0, 0] == 3).sum() < 240  # four standard deviations


CHANGES = [lambda *args: random_crop(*args, fraction=0.4), random_flip]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_s_change_does_not_depend_on_its_batch(change, channels):
    images = pictures(50, channels)
    together = change(images, IDS[:50], 7, 3)
    apart = [change(images[i : i + 1], IDS[i : i + 1], 7, 3)[0] for i in range(50)]
    assert np.array_equal(together, apart)
    assert together.dtype == np.uint8


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(("seed", "epoch"), [(1, 0), (0, 1)])
def test_another_seed_or_epoch_changes_pictures_differently(change, seed, epoch):
    images = pictures(50)
    assert not np.array_equal(change(images, IDS[:50], seed, epoch), change(images, IDS[:50], 0, 0))


@pytest.mark.parametrize("change", CHANGES)
def test_the_given_pictures_stay_as_they_were(change):
    images = pictures(50)
    before = images.copy()
    change(images, IDS[:50], 0, 0)
    assert np.array_equal(images, before)


def test_shift_and_flip_are_drawn_apart():
    salts = {augment.CROP_X, augment.CROP_Y, augment.FLIP}
    draws = [augment.uniform(IDS, 0, 0, salt) for salt in sorted(salts)]
    assert np.abs(np.corrcoef(draws) - np.eye(3)).max() < 0.2
