from pathlib import Path

import pytest

from depthwise.data import probe as probing
from depthwise.data.decode import Header
from depthwise.data.index import Record
from depthwise.data.probe import Probe, probe


def records_of(tmp_path, save_noise, *sizes, mode="RGB") -> list[Record]:
    return [
        Record(str(save_noise(tmp_path / f"{number}.png", number, size, mode)), "a")
        for number, size in enumerate(sizes)
    ]


def test_a_probe_gives_medians_of_the_sizes(tmp_path, save_noise):
    records = records_of(tmp_path, save_noise, (10, 80), (20, 6), (90, 70))
    found = probe(records)
    assert (found.width, found.height, found.is_grey, found.num_images) == (20, 70, False, 3)
    assert found.shapes == pytest.approx((0.2 * 90 / 70 + 0.8 * 10 / 80, 0.8 * 20 / 6 + 0.2 * 90 / 70))


def test_pictures_are_grey_when_all_are(tmp_path, save_noise):
    assert probe(records_of(tmp_path, save_noise, (8, 8), (8, 8), mode="L")).is_grey


def test_one_coloured_picture_makes_all_coloured(tmp_path, save_noise):
    records = records_of(tmp_path, save_noise, (8, 8), (8, 8), mode="L")
    records.append(Record(str(save_noise(tmp_path / "colour.png", 9)), "a"))
    assert not probe(records).is_grey


def test_bad_pictures_are_passed_over(tmp_path, save_noise):
    records = [Record(str(tmp_path / "gone.png"), "a"), *records_of(tmp_path, save_noise, (12, 34))]
    assert probe(records) == Probe(12, 34, is_grey=False, num_images=1, shapes=(12 / 34, 12 / 34))


@pytest.mark.parametrize("records", [[], [Record(str(Path("/nowhere/a.png")), "a")]])
def test_without_a_good_picture_the_usual_size_is_supposed(records):
    assert probe(records) == Probe(224, 224, is_grey=False, num_images=0)


@pytest.mark.parametrize(
    ("number", "expected"), [(1, 1), (499, 499), (500, 500), (501, 251), (999, 500), (1000, 500), (70_000, 500)]
)
def test_500_pictures_at_most_are_looked_at(number, expected, monkeypatch):
    monkeypatch.setattr(probing, "read_header", lambda path: Header(1, 1, is_grey=True))
    assert probe([Record(str(Path("a.png")), "a")] * number).num_images == expected


def test_the_pictures_looked_at_are_spread_over_all(monkeypatch):
    seen = []
    monkeypatch.setattr(probing, "read_header", lambda path: seen.append(int(path.name)) or Header(1, 1, is_grey=True))
    probe([Record(str(Path(str(number))), "a") for number in range(5000)])
    assert seen == list(range(0, 5000, 10))


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [
        (1, 1, 8),
        (8, 9, 8),
        (28, 28, 28),
        (47, 100, 47),
        (60, 100, 64),
        (640, 480, 480),
        (100, 224, 96),
        (250, 250, 256),
    ],
)
def test_the_input_side_follows_the_shorter_side(width, height, expected):
    assert Probe(width, height, is_grey=False, num_images=1).image_size == expected


def test_the_description_says_size_and_colour():
    assert Probe(28, 30, is_grey=True, num_images=1).description == "28 x 30 px in the median, grey"
    assert Probe(28, 30, is_grey=False, num_images=1).description == "28 x 30 px in the median, in colour"


@pytest.mark.parametrize(("sizes", "expected"), [([(40, 20)] * 20, False), ([(40, 20)] * 10 + [(20, 30)] * 10, True)])
def test_shapes_are_mixed_when_some_are_twice_as_wide(tmp_path, save_noise, sizes, expected):
    assert probe(records_of(tmp_path, save_noise, *sizes)).are_shapes_mixed is expected
