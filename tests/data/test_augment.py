from dataclasses import replace

import numpy as np
import pytest

from depthwise.config import TrainConfig
from depthwise.data import augment_maps
from depthwise.data.augment import PRESETS, Augmentation, augment, resolve, without_changes
from depthwise.data.augment_colour import LUMA, colour_matrices
from depthwise.data.augment_maps import box_maps, in_pixels, mirror_maps, turn_maps
from depthwise.data.order import mix

IDS = mix(np.arange(2000))
SQUARE = np.array([[[1, 2, 3], [4, 5, 6], [7, 8, 9]]], np.uint8)[..., None]  # (1, 3, 3, 1)
EVERYTHING = Augmentation(
    scale_min=0.3,
    flip=True,
    vertical_flip=True,
    rotate=20,
    jitter=0.3,
    hue=0.1,
    pca_noise=0.1,
    policy="randaugment",
    erase=0.5,
)
SINGLE = [
    Augmentation(crop=0.2),
    Augmentation(scale_min=0.3),
    Augmentation(short_side=(14, 20)),
    Augmentation(flip=True),
    Augmentation(vertical_flip=True),
    Augmentation(rotate=30),
    Augmentation(jitter=0.4),
    Augmentation(hue=0.3),
    Augmentation(pca_noise=0.5),
    Augmentation(policy="randaugment"),
    Augmentation(policy="trivial"),
    Augmentation(erase=0.5),
]


def name(how: Augmentation) -> str:
    return ",".join(field for field, value in vars(how).items() if value != getattr(Augmentation(), field))


def pictures(number: int, channels: int = 3, side: int = 12) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (number, side, side, channels), np.uint8)


def changed(images, how, *, ids=None, seed=7, epoch=3, side=None):
    ids = IDS[: len(images)] if ids is None else ids
    return augment(images, np.arange(len(images)), ids, seed, epoch, how, side or images.shape[1])


def draw(monkeypatch, **values: float) -> None:
    """Let `uniform` give these numbers for the salts of those names, to each sample."""
    given = {getattr(augment_maps, name): value for name, value in values.items()}
    monkeypatch.setattr(augment_maps, "uniform", lambda ids, seed, epoch, salt: np.full(len(ids), given.get(salt, 0.9)))


@pytest.mark.parametrize("how", [*SINGLE, EVERYTHING], ids=name)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_s_change_does_not_depend_on_its_batch(how, channels):
    images = pictures(20, channels)
    together = changed(images, how)
    apart = [augment(images, np.array([i]), IDS[i : i + 1], 7, 3, how, 12)[0] for i in range(20)]
    assert np.array_equal(together, apart)
    assert together.dtype == np.uint8
    assert together.shape == images.shape


@pytest.mark.parametrize("how", [*SINGLE, EVERYTHING], ids=name)
@pytest.mark.parametrize("other", [{"seed": 1}, {"epoch": 1}, {"ids": IDS[40:80]}])
def test_another_seed_epoch_or_sample_changes_pictures_differently(how, other):
    images = pictures(40)
    images[:, :, :, 0] //= 2  # hue has colours to turn
    assert not np.array_equal(changed(images, how, **other), changed(images, how))


@pytest.mark.parametrize("how", [*SINGLE, EVERYTHING], ids=name)
def test_the_given_pictures_stay_as_they_were(how):
    images = pictures(20)
    before = images.copy()
    images.setflags(write=False)
    changed(images, how)
    assert np.array_equal(images, before)


@pytest.mark.parametrize("how", [Augmentation(), EVERYTHING, Augmentation(crop=0.1, flip=True)], ids=name)
@pytest.mark.parametrize("side", [8, 20])
def test_pictures_come_out_with_the_side_that_is_asked_for(how, side):
    assert changed(pictures(5), how, side=side).shape == (5, side, side, 3)


def test_pictures_that_nothing_happens_to_are_the_stored_ones():
    images = pictures(5)
    assert np.array_equal(changed(images, Augmentation()), images)


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
    draw(monkeypatch, SHIFT_X=x, SHIFT_Y=y)
    assert changed(SQUARE, Augmentation(crop=1 / 3))[0, :, :, 0].tolist() == expected


def test_every_shift_happens_about_equally_often():
    result = changed(SQUARE.repeat(400, axis=0), Augmentation(crop=1 / 3))
    _, counts = np.unique(result.reshape(400, 9), axis=0, return_counts=True)
    assert len(counts) == 9  # x and y are drawn apart: all pairs of -1, 0, 1
    assert counts.min() > 20


@pytest.mark.parametrize(("fraction", "reach"), [(0.08, 0), (0.1, 1), (0.3, 3), (0.39, 3), (0.5, 5)])
def test_the_largest_shift_is_the_given_share_of_the_side(fraction, reach):
    ramp = np.tile(np.arange(10, dtype=np.uint8), (400, 10, 1))[..., None]
    shifts = changed(ramp, Augmentation(crop=fraction))[:, 5, 5, 0].astype(int) - 5
    assert set(shifts) == set(range(-min(reach, 5), min(reach, 4) + 1))


@pytest.mark.parametrize(
    ("how", "draws", "expected"),
    [
        (Augmentation(flip=True), {"FLIP": 0.49}, [[3, 2, 1], [6, 5, 4], [9, 8, 7]]),
        (Augmentation(flip=True), {"FLIP": 0.5}, [[1, 2, 3], [4, 5, 6], [7, 8, 9]]),
        (Augmentation(vertical_flip=True), {"VERTICAL_FLIP": 0.49}, [[7, 8, 9], [4, 5, 6], [1, 2, 3]]),
        (Augmentation(rotate=90), {"ANGLE": 0.0}, [[7, 4, 1], [8, 5, 2], [9, 6, 3]]),
        (Augmentation(rotate=90), {"ANGLE": 0.5}, [[1, 2, 3], [4, 5, 6], [7, 8, 9]]),
    ],
)
def test_mirrors_and_turns_on_nine_pixels(monkeypatch, how, draws, expected):
    draw(monkeypatch, SHIFT_X=0.0, SHIFT_Y=0.0, **draws)
    assert changed(SQUARE, how)[0, :, :, 0].tolist() == expected


def test_about_half_of_all_pictures_are_mirrored_each_way_apart():
    maps = mirror_maps(IDS, 0, 0, flip=True, vertical_flip=True)
    is_flipped, is_upside_down = maps[:, 0, 0] < 0, maps[:, 1, 1] < 0
    for share in (is_flipped.mean(), is_upside_down.mean(), (is_flipped == is_upside_down).mean()):
        assert 0.45 < share < 0.55  # four standard deviations


def boxes(**rule) -> np.ndarray:
    return box_maps(IDS, 0, 0, 224, **{"crop": 0.0, "scale_min": 0.0, "short_side": (0, 0), **rule})


@pytest.mark.parametrize("rule", [{"scale_min": 0.08}, {"scale_min": 1.0}, {"short_side": (256, 512)}])
def test_a_cut_out_lies_within_the_picture(rule):
    maps = boxes(**rule)
    for axis in (0, 1):
        start, length = maps[:, axis, 2], maps[:, axis, axis]
        assert start.min() >= 0
        assert (start + length).max() <= 1 + 1e-12


def test_random_resized_crops_have_uniform_areas_and_the_papers_ratios():
    maps = boxes(scale_min=0.2)
    areas, ratios = maps[:, 0, 0] * maps[:, 1, 1], maps[:, 0, 0] / maps[:, 1, 1]
    assert areas.min() >= 0.2 - 1e-12
    assert abs(areas.mean() - 0.6) < 0.02
    is_small = areas < 0.5  # no side meets the picture's
    assert ratios[is_small].min() >= 3 / 4 - 1e-9
    assert ratios[is_small].max() <= 4 / 3 + 1e-9
    assert abs(np.log(ratios[is_small]).mean()) < 0.02


def test_scale_jitter_cuts_out_what_a_short_side_of_that_length_shows():
    maps = boxes(short_side=(256, 512))
    lengths = 224 / maps[:, 0, 0]
    assert (lengths.min(), lengths.max()) == (256, 512)
    assert abs(lengths.mean() - 384) < 8
    assert np.array_equal(maps[:, 0, 0], maps[:, 1, 1])
    assert (224 / boxes(short_side=(256, 256))[:, 0, 0] == 256).all()
    assert (boxes(short_side=(100, 100))[:, 0, 0] == 1).all()  # never more than the picture


def test_turns_are_uniform_and_keep_the_centre():
    maps = turn_maps(IDS, 0, 0, 30)
    angles = np.rad2deg(np.arctan2(maps[:, 1, 0], maps[:, 0, 0]))
    assert -30 <= angles.min() < -28 and 28 < angles.max() <= 30
    assert abs(angles.mean()) < 1.6
    assert np.allclose(maps @ [0.5, 0.5, 1], [0.5, 0.5, 1])


def test_a_map_in_pixels_goes_from_the_result_to_the_stored_picture():
    maps = in_pixels(boxes(scale_min=0.5)[:1], 256, 224)
    left, width = boxes(scale_min=0.5)[0, 0, 2], boxes(scale_min=0.5)[0, 0, 0]
    assert np.allclose(maps[0, 0] @ [224, 0, 1], 256 * (left + width))


def jittered(images, **values):
    arguments = {"jitter": 0.0, "hue": 0.0, "pca_noise": 0.0, **values}
    return colour_matrices(images, IDS[: len(images)], 0, 0, **arguments)


def test_colours_that_nothing_happens_to_stay():
    assert np.allclose(jittered(pictures(9)), np.eye(3, 4))


def test_jitter_changes_brightness_contrast_and_saturation_within_its_share():
    grey = np.full((400, 4, 4, 3), 100, np.uint8)
    shown = jittered(grey, jitter=0.4) @ [100, 100, 100, 1]  # contrast and saturation leave a grey picture as it is
    assert np.allclose(shown, shown[:, :1])
    assert 60 <= shown.min() < 62 and 138 < shown.max() <= 140
    linear = jittered(grey, jitter=0.4)[:, :, :3]
    assert np.allclose(linear @ np.ones(3), (linear @ np.ones(3))[:, :1])  # grey stays grey


def test_a_hue_turn_keeps_grey_and_the_mean_of_channels():
    linear = jittered(pictures(50), hue=0.5)[:, :, :3]
    assert np.allclose(linear @ np.ones(3), 1)
    assert np.allclose(linear.sum(axis=1), 1)
    assert np.allclose(linear @ linear.transpose(0, 2, 1), np.eye(3))


def test_a_third_of_the_circle_makes_red_green(monkeypatch):
    monkeypatch.setattr("depthwise.data.augment_colour.uniform", lambda ids, *_: np.full(len(ids), (1 / 3 + 0.5)))
    linear = jittered(pictures(1), hue=0.5)[0, :, :3]
    assert np.allclose(linear @ [1, 0, 0], [0, 1, 0])


def test_pca_noise_has_the_spread_along_imagenet_s_axes():
    offsets = jittered(np.zeros((2000, 2, 2, 3), np.uint8), pca_noise=0.1)[:, :, 3] / 255
    from depthwise.data.augment_colour import EIGENVALUES, EIGENVECTORS

    assert np.allclose(np.std(offsets @ EIGENVECTORS, axis=0), 0.1 * EIGENVALUES, rtol=0.08)
    assert np.abs(offsets.mean(axis=0)).max() < 0.002


def test_saturation_moves_along_luma(monkeypatch):
    monkeypatch.setattr("depthwise.data.augment_colour.uniform", lambda ids, *_: np.zeros(len(ids)))
    matrix = jittered(np.zeros((1, 2, 2, 3), np.uint8), jitter=1.0)[0]  # all factors 0: black
    assert np.allclose(matrix[:, :3], 0)
    half = colour_matrices(np.zeros((1, 2, 2, 3), np.uint8), IDS[:1], 0, 0, jitter=0.5, hue=0, pca_noise=0)[0]
    assert np.allclose(half[:, :3], 0.25 * (0.5 * np.eye(3) + 0.5 * LUMA))


def test_none_switches_everything_off_and_standard_is_the_default():
    assert resolve(TrainConfig(augment="none")).is_none
    several = {"rotate": 9, "mixup": 1.0, "policy": "randaugment", "policy_ops": 3, "short_side": (8, 9)}
    assert resolve(without_changes(TrainConfig(augment_warmup=0.5, **several))).is_none
    assert resolve(TrainConfig(epochs=11)) == Augmentation(crop=0.08, flip=True, augment_warmup=10)
    assert not resolve(TrainConfig()).is_none


def test_a_flag_replaces_the_preset_s_value():
    strong = resolve(TrainConfig(augment="strong"))
    assert resolve(TrainConfig(augment="strong", flip=False)) == replace(strong, flip=False)
    assert resolve(TrainConfig(augment="strong", erase=0)) == replace(strong, erase=0)
    assert resolve(TrainConfig(augment="strong", policy="none")) == replace(strong, policy="none")


def test_another_rule_for_where_to_cut_takes_the_preset_s_place():
    assert resolve(TrainConfig(scale_min=0.3, augment_warmup=0)) == Augmentation(scale_min=0.3, flip=True)
    assert resolve(TrainConfig(augment="strong", crop=0.1)).scale_min == 0
    assert resolve(TrainConfig(augment="light", short_side=(256, 480))).short_side == (256, 480)
    assert not resolve(TrainConfig(augment="light", scale_min=0)).cuts_out


@pytest.mark.parametrize(
    ("epochs", "share", "expected"),
    [
        (5, 1.0, [0, 0.25, 0.5, 0.75, 1]),
        (5, 0.5, [0, 0.5, 1, 1, 1]),
        (5, 0.0, [1] * 5),
        (1, 1.0, [0]),
        (2, 1.0, [0, 1]),
    ],
)
def test_more_and_more_pictures_are_changed_until_warm_up_is_over(epochs, share, expected):
    how = resolve(TrainConfig(epochs=epochs, augment_warmup=share))
    assert [how.share(epoch) for epoch in range(epochs)] == expected


def test_pictures_that_warm_up_leaves_alone_are_as_stored_and_the_others_as_without_it():
    images = pictures(400)
    how = replace(EVERYTHING, augment_warmup=4.0)
    found, whole = changed(images, how, epoch=3), changed(images, EVERYTHING, epoch=3)
    is_left = (found == images).all(axis=(1, 2, 3))
    assert 0.15 < is_left.mean() < 0.35  # a quarter, give or take four standard deviations
    assert np.array_equal(found[~is_left], whole[~is_left])
    assert np.array_equal(changed(images, how, epoch=0), images)
    assert np.array_equal(changed(images, how, epoch=4), changed(images, EVERYTHING, epoch=4))


def test_every_preset_has_a_name_that_the_flag_takes():
    for preset in PRESETS:
        assert isinstance(resolve(TrainConfig(augment=preset)), Augmentation)  # type: ignore[arg-type]
