import numpy as np
import pytest
from PIL import Image, ImageOps

from depthwise.data.augment_policy import PIXELS, TABLE, Drawn, change_pixels, draw_policy, policy_maps
from depthwise.data.order import mix

IDS = mix(np.arange(3000), 9)
PLACES = {op.name: number for number, op in enumerate(TABLE)}
MOVES = {"rotate", "shear_x", "shear_y", "translate_x", "translate_y"}


def drawn(policy="randaugment", *, num_ops=2, magnitude=9.0, ids=IDS) -> Drawn:
    return draw_policy(ids, 0, 0, policy, num_ops=num_ops, magnitude=magnitude)


def one(name: str, strength: float) -> Drawn:
    return Drawn(np.array([[PLACES[name]]]), np.array([[strength]]))


def test_the_table_is_complete():
    assert {op.name for op in TABLE} == set(PIXELS) | MOVES | {"identity"}
    assert len(TABLE) == 14


@pytest.mark.parametrize(("policy", "count"), [("none", 0), ("trivial", 1), ("randaugment", 3)])
def test_so_many_operations_are_drawn(policy, count):
    assert drawn(policy, num_ops=3).kinds.shape == (3000, count)


def test_every_operation_is_drawn_about_equally_often():
    counts = np.bincount(drawn(num_ops=1).kinds[:, 0], minlength=14)
    assert counts.min() > 150 and counts.max() < 280  # 214 each: under five standard deviations


@pytest.mark.parametrize("magnitude", [0.0, 4.0, 10.0])
def test_randaugment_s_strength_is_its_magnitude_with_either_sign(magnitude):
    found = drawn(magnitude=magnitude)
    for op in TABLE:
        strengths = found.strengths[found.kinds == PLACES[op.name]]
        assert np.allclose(np.abs(strengths), magnitude / 10 * op.randaugment)
        assert (strengths < 0).any() == (op.is_signed and magnitude > 0)


def test_trivialaugment_s_strengths_are_31_levels_of_its_range():
    found = drawn("trivial")
    for op in TABLE:
        strengths = np.abs(found.strengths[found.kinds == PLACES[op.name]])
        if op.trivial:
            levels = set(np.round(strengths / op.trivial * 30, 9))
            assert levels <= set(range(31)) and len(levels) > 27
            assert strengths.max() == pytest.approx(op.trivial)


@pytest.mark.parametrize(
    ("name", "strength", "place", "expected"),
    [
        ("translate_x", 0.25, (0.5, 0.5), (0.75, 0.5)),
        ("translate_y", -0.25, (0.5, 0.5), (0.5, 0.25)),
        ("shear_x", 0.3, (0.5, 1.0), (0.65, 1.0)),
        ("shear_y", 0.3, (0.0, 0.5), (0.0, 0.35)),
        ("rotate", 90.0, (1.0, 0.5), (0.5, 1.0)),
        ("posterize", 4.0, (0.3, 0.4), (0.3, 0.4)),
    ],
)
def test_moves_are_maps(name, strength, place, expected):
    assert np.allclose(policy_maps(one(name, strength))[0] @ [*place, 1], [*expected, 1])


def test_values_are_changed_by_what_was_drawn_in_its_order():
    image = np.random.default_rng(0).integers(0, 256, (2, 9, 9, 3), np.uint8)
    changed = image.copy()
    kinds = np.array([[PLACES["solarize"], PLACES["posterize"]], [PLACES["rotate"], PLACES["identity"]]])
    change_pixels(changed, Drawn(kinds, np.array([[128.0, 4.0], [20.0, 0.0]])))
    by_hand = ImageOps.posterize(ImageOps.solarize(Image.fromarray(image[0]), 128), 4)
    assert np.array_equal(changed[0], np.asarray(by_hand))
    assert np.array_equal(changed[1], image[1])


@pytest.mark.parametrize("name", sorted(PIXELS))
@pytest.mark.parametrize("channels", [1, 3])
def test_every_change_of_values_takes_grey_and_colour(name, channels):
    image = np.random.default_rng(0).integers(40, 200, (1, 40, 40, channels), np.uint8)
    image[0, 0, 0] = 77
    changed = image.copy()
    change_pixels(changed, one(name, 3.0 if name == "posterize" else 128.0 if name == "solarize" else 0.5))
    is_grey_colour = name == "color" and channels == 1
    assert np.array_equal(changed, image) == is_grey_colour
