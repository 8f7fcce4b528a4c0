import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from depthwise.data.fingerprint import perceptual_hash
from depthwise.data.likeness import ALIKE, likeness, small_grey

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
from plant import edited, scene

PHOTOS = Path(__file__).parents[1] / "photos"


def photo(name: str) -> Image.Image:
    with Image.open(PHOTOS / name) as image:
        return image.convert("RGB")


# What imagehash.phash 4.3.2 gives for these pictures made grey.
@pytest.mark.parametrize(
    ("name", "expected"), [("chelsea.jpg", "b15fe6465121175e"), ("coffee.jpg", "bb8320376c0f3637")]
)
def test_the_perceptual_hash_is_imagehash_s(name, expected):
    assert f"{perceptual_hash(photo(name).convert('L')):016x}" == expected


@pytest.mark.parametrize("name", ["chelsea.jpg", "coffee.jpg"])
@pytest.mark.parametrize("how", [0, 1, 2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_the_same_shot_is_alike_either_way_round(name, how, seed):
    first = small_grey(photo(name))
    second = small_grey(edited(photo(name), how, np.random.default_rng(seed)))
    assert likeness(first, second) >= ALIKE
    assert likeness(second, first) >= ALIKE


def test_different_pictures_are_not():
    pictures = [small_grey(scene(np.random.default_rng(seed))) for seed in range(12)]
    pictures += [small_grey(photo(name)) for name in ("chelsea.jpg", "coffee.jpg")]
    values = [likeness(a, b) for i, a in enumerate(pictures) for b in pictures[i + 1 :]]
    assert max(values) < 0.5


def test_the_same_scene_with_another_thing_in_it_is_not():
    empty = photo("coffee.jpg")
    other = empty.copy()
    other.paste(photo("chelsea.jpg").resize((220, 160)), (200, 150))
    assert likeness(small_grey(empty), small_grey(other)) < ALIKE


@pytest.mark.parametrize("size", [(2, 40), (28, 28), (500, 9), (301, 999)])
def test_any_size_can_be_compared(size):
    picture = small_grey(scene(np.random.default_rng(0), (300, 200)).resize(size))
    assert likeness(picture, picture) == pytest.approx(1.0)
