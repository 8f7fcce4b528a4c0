"""Pictures for the tests: noise, folders of photos that a network learns in a second, a run trained on them."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch: small networks gain nothing from more, and share cores badly

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from depthwise.cli import run

_CACHE = tempfile.TemporaryDirectory()
os.environ["XDG_CACHE_HOME"] = _CACHE.name  # what tests find out stays out of the user's cache
os.environ.pop("DEPTHWISE_CACHE", None)  # which would be asked first

settings.register_profile("depthwise", deadline=None)  # no timed assertions
settings.load_profile("depthwise")

COLOURS = {"crème brûlée": (220, 180, 60), "猫": (40, 160, 60), "red fox": (200, 40, 40)}
FLAGS = ("--no-report", "--recipe", "none", "--model", "lenet5", "--batch-size", "4", "--lr", "0.05", "--workers", "2")


def write_photos(
    folder: Path,
    *,
    per_class: int = 12,
    size: tuple[int, int] = (24, 20),
    seed: int = 0,
    colours: Mapping[str, tuple[int, int, int]] = COLOURS,
) -> Path:
    """Make class folders of noisy colour fields, as JPEG, PNG and WebP by turns."""
    rng = np.random.default_rng(seed)
    for name, colour in colours.items():
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            noise = rng.normal(0, 20, (size[1], size[0], 3))
            pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            suffix = ("jpg", "png", "webp")[number % 3]
            Image.fromarray(pixels).save(folder / name / f"photo {number:02d}.{suffix}")
    return folder


def pytest_addoption(parser: pytest.Parser) -> None:
    """For tests/test_tutorials.py."""
    parser.addoption("--write-pages", action="store_true", help="let pages show what their commands print here")


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of twelve photos each; tests only read it."""
    return write_photos(tmp_path_factory.mktemp("data") / "my photos")


@pytest.fixture(scope="session")
def trained(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on `photos`; tests only read it."""
    out = tmp_path_factory.mktemp("runs") / "run"
    assert run(["train", str(photos), "--out", str(out), *FLAGS, "--epochs", "4"]) == 0
    return out


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Let PyTorch, and so the kernels, use two threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def save_noise() -> Callable[..., Path]:
    """Write a picture of noise, made by `seed`, and return its path."""

    def save(path: Path, seed: int, size: tuple[int, int] = (8, 8), mode: str = "RGB") -> Path:
        shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, np.uint8)).save(path)
        return path

    return save
