"""Whether pictures keep their class in a mirror."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from depthwise.data.mirror import Mirrored, mirrored_likeness
from depthwise.data.sources import sample_photos


def drawn(texts, *, per_class=40, seed=0):
    """Letters, a little shifted and noisy, uint8 (N, 24, 24, 1), and their classes' numbers."""
    rng = np.random.default_rng(seed)
    pictures, labels = [], []
    for number, text in enumerate(texts):
        for _ in range(per_class):
            image = Image.new("L", (24, 24), 0)
            ImageDraw.Draw(image).text(tuple(rng.integers(11, 14, 2)), text, fill=200, font_size=16, anchor="mm")
            pictures.append(np.clip(np.asarray(image) + rng.normal(0, 10, (24, 24)), 0, 255).astype(np.uint8))
            labels.append(number)
    return np.stack(pictures)[..., None], np.array(labels)


def test_letters_that_mirror_into_each_other_lose_their_class():
    found = mirrored_likeness(*drawn("bdpq"))
    assert found.num_images == 160 and found.chance == 0.25
    assert found.plain > 0.9 and found.mirrored < 0.1 and not found.keeps_class


def test_letters_with_an_upright_axis_keep_it():
    found = mirrored_likeness(*drawn("AHTVX"))
    assert found.plain > 0.9 and found.mirrored > 0.9 and found.keeps_class


def test_clothes_keep_it():
    with sample_photos() as folder:
        paths = sorted(folder.rglob("*.png"))
        pictures = np.stack([np.asarray(Image.open(path).convert("L")) for path in paths])[..., None]
        names = [path.parent.name for path in paths]
    found = mirrored_likeness(pictures, np.unique(names, return_inverse=True)[1])
    assert found.num_images == len(paths) and found.plain > 0.6 and found.keeps_class


def test_pictures_whose_likeness_tells_nothing_keep_it():
    rng = np.random.default_rng(0)
    pictures, labels = rng.integers(0, 256, (400, 24, 24, 3), np.uint8), rng.integers(0, 4, 400)
    assert mirrored_likeness(pictures, labels).keeps_class


@pytest.mark.parametrize(
    ("num_images", "plain", "mirrored", "keeps"),
    [(2000, 0.99, 0.35, False), (40, 0.99, 0.35, True), (2000, 0.78, 0.60, True), (2000, 0.15, 0.12, True)],
)
def test_what_is_made_of_it(num_images, plain, mirrored, keeps):
    assert Mirrored(num_images, plain, mirrored, chance=0.1).keeps_class is keeps
