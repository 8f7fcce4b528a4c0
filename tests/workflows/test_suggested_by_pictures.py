"""What training makes of the pictures: mirror images only where they keep their class, a word on mixed shapes."""

import tomllib

import numpy as np
import pytest
from PIL import Image, ImageDraw

from conftest import FLAGS, write_photos
from depthwise.artifact import read_card
from depthwise.cli import run
from depthwise.workflows.training_data import shown_as


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("letters"), np.random.default_rng(0)
    for letter in "bdpq":
        (folder / letter).mkdir()
        for number in range(40):
            image = Image.new("L", (24, 24), 0)
            place = tuple(rng.integers(11, 14, 2))
            ImageDraw.Draw(image).text(place, letter, fill=200, font_size=16, anchor="mm")
            pixels = np.clip(np.asarray(image) + rng.normal(0, 10, (24, 24)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / letter / f"{number}.png")
    return folder


def trained_on(letters, out, *flags, epochs=2):
    assert run(["train", str(letters), "--out", str(out), *FLAGS, "--epochs", str(epochs), *flags]) == 0
    return (out / "metrics.jsonl").read_bytes()


def test_letters_are_not_mirrored_unless_asked_for(letters, tmp_path, capsys):
    found = trained_on(letters, tmp_path / "found")
    said = capsys.readouterr()
    assert "No mirror images are shown: they look like other classes." in said.out + said.err
    assert tomllib.loads((tmp_path / "found" / "config.toml").read_text())["pictures"] == {"can_mirror": False}
    assert found == trained_on(letters, tmp_path / "never", "--no-flip")
    assert found != trained_on(letters, tmp_path / "always", "--flip")
    said = capsys.readouterr()
    assert "mirror images" not in said.out + said.err


def test_what_was_found_holds_when_a_run_goes_on(letters, tmp_path):
    whole = trained_on(letters, tmp_path / "whole", "--schedule", "constant", "--warmup", "0")
    trained_on(letters, tmp_path / "parts", "--schedule", "constant", "--warmup", "0", epochs=1)
    assert trained_on(letters, tmp_path / "parts", "--schedule", "constant", "--warmup", "0", "--resume") == whole
    for name in ("best", "last"):
        assert read_card(tmp_path / "parts" / f"{name}.safetensors").training["can_mirror"] is False


def test_photos_are_mirrored(trained):
    card = read_card(trained / "best.safetensors")
    assert card.training["can_mirror"] is True
    from depthwise.config import TrainConfig

    assert shown_as(TrainConfig(), card.training).flip is None
    assert shown_as(TrainConfig(), {"can_mirror": False}).flip is False


def test_mixed_shapes_are_told_with_a_remedy(tmp_path, capsys):
    for seed, size in enumerate([(40, 20), (20, 40)]):
        write_photos(tmp_path / "photos" / str(seed), size=size, per_class=6, seed=seed)
    flags = [*FLAGS, "--epochs", "1", "--image-size", "32"]
    photos = tmp_path / "photos"
    for folder in list((photos / "1").iterdir()):
        for path in folder.iterdir():
            path.rename(photos / "0" / folder.name / f"upright {path.name}")
    for fit, expected in (("squash", True), ("letterbox", False)):
        command = ["train", str(photos / "0"), "--out", str(tmp_path / fit), *flags, "--fit", fit]
        assert run(command) == 0
        said = capsys.readouterr()
        assert ("Shapes are mixed, 0.50 to 2.00 wide for a height of 1" in said.out + said.err) is expected
