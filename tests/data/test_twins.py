import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from depthwise.console import Quiet
from depthwise.data.audit import Skipped
from depthwise.data.examine import examine_all
from depthwise.data.index import Record
from depthwise.data.ledger import Ledger
from depthwise.data.likeness import ALIKE, ALIKE_BY_KIND, likeness, small_grey
from depthwise.data.turned import BACK, FORMS, turn
from depthwise.data.twins import LEAST_TURNED, RADII, Search, find_twins

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
from plant import edited, scene


def search(folder: Path, **pictures: Image.Image) -> tuple[list[str], Search]:
    paths = []
    for name, picture in sorted(pictures.items()):
        paths.append(folder / f"{name}.png")
        picture.save(paths[-1])
    with Ledger(folder / "cache") as ledger:
        prints = [look for look in examine_all(paths, 1, Quiet(), ledger) if not isinstance(look, Skipped)]
        records = [Record(str(path), path.stem.partition("_")[2]) for path in paths]  # NAME_CLASS
        return sorted(pictures), find_twins(records, prints, ledger, 1, Quiet())


def named(names: list[str], found: Search) -> set[tuple[str, str]]:
    return {(names[twins.first], names[twins.second]) for twins in found.pairs}


BASE = np.asarray(scene(np.random.default_rng(0), (192, 192)).convert("L"), np.float64)


def cell(seed: int, base: np.ndarray = BASE, faint: float = 5) -> Image.Image:
    """Like a solar cell: one design, and a grain of its own."""
    rng = np.random.default_rng(seed)
    grain = Image.fromarray(rng.integers(0, 256, (24, 24), np.uint8)).resize((192, 192), Image.Resampling.BICUBIC)
    pixels = base + (np.asarray(grain, np.float64) - 128) / faint
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def test_equal_pixels_and_the_same_shot_are_pairs(tmp_path):
    first, other = scene(np.random.default_rng(0)), scene(np.random.default_rng(1))
    near = edited(first, 1, np.random.default_rng(0))
    names, found = search(tmp_path, a=first, b=first.copy(), c=near, d=other)
    assert named(names, found) == {("a", "b"), ("a", "c")}
    assert [twins.likeness == 1.0 for twins in found.pairs] == [True, False]
    assert (found.least, found.notes) == (ALIKE, ())


def test_flat_pictures_are_copies_only_when_equal(tmp_path):
    names, found = search(
        tmp_path, **{f"v{v}": Image.new("L", (40, 30), v) for v in (10, 11, 200)}, w=Image.new("L", (40, 30), 10)
    )
    assert named(names, found) == {("v10", "w")}


def test_pairs_are_compared_themselves_and_never_inferred(tmp_path):
    """Each is like its neighbour; the first and the last are not alike, and are no pair."""
    wide = scene(np.random.default_rng(3), (400, 160))
    steps = {f"s{n:02d}": wide.crop((8 * n, 0, 8 * n + 200, 160)) for n in range(20)}
    names, found = search(tmp_path, **steps)
    pairs = named(names, found)
    assert ("s00", "s01") in pairs
    assert ("s00", "s19") not in pairs
    assert all(int(b[1:]) - int(a[1:]) < 10 for a, b in pairs)


def test_look_alikes_of_one_kind_are_not_the_same_but_a_copy_among_them_is(tmp_path):
    cells = {f"c{n:02d}": cell(n) for n in range(30)}
    neighbour = cell(99, np.asarray(cells["c03"], np.float64), faint=16)  # from the same block of silicon
    assert ALIKE < likeness(small_grey(cells["c03"]), small_grey(neighbour)) < ALIKE_BY_KIND
    copy = edited(cells["c07"].convert("RGB"), 0, np.random.default_rng(0))
    names, found = search(tmp_path, **cells, neighbour=neighbour, copy=copy)
    assert found.least == ALIKE_BY_KIND
    assert named(names, found) == {("c07", "copy")}
    assert "look alike by their kind" in found.notes[0]


def test_a_cut_out_is_found_whichever_comes_first(tmp_path, monkeypatch):
    whole = scene(np.random.default_rng(3), (512, 512))
    part = whole.crop((51, 51, 461, 461))
    assert likeness(small_grey(part), small_grey(whole)) == 0 != likeness(small_grey(whole), small_grey(part))
    monkeypatch.setattr("depthwise.data.twins._propose", lambda prints: (np.array([[0, 1]]), RADII[-1]))
    for number, names in enumerate((("a", "b"), ("b", "a"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        found = search(folder, **dict(zip(names, (whole, part), strict=True)))[1]
        assert [twins.likeness for twins in found.pairs] == [pytest.approx(0.977, abs=0.05)]


def test_a_camera_that_stands_still_is_not_compared_with_itself_for_hours(tmp_path, monkeypatch):
    monkeypatch.setattr("depthwise.data.twins.FREE_AT_FIRST", 50)
    frame = np.asarray(scene(np.random.default_rng(0), (120, 120)))
    frames = {}
    for number in range(40):
        frames[f"f{number:02d}"] = frame.copy()
        frames[f"f{number:02d}"][number, number] ^= 1  # another picture, and the same look
    names, found = search(tmp_path, **{name: Image.fromarray(pixels) for name, pixels in frames.items()})
    assert found.radius == 0
    assert named(names, found) == set(itertools.pairwise(names))


@pytest.mark.parametrize("form", range(1, len(FORMS)))
def test_a_mirrored_or_turned_copy_is_found_and_its_form_told(form, tmp_path):
    first, others = scene(np.random.default_rng(0)), [scene(np.random.default_rng(n)) for n in range(1, 9)]
    copy = edited(turn(first, form), 1, np.random.default_rng(0))
    for number, names in enumerate((("a", "b"), ("b", "a"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        pair = dict(zip(names, (first, copy), strict=True))
        names_, found = search(folder, **pair, **{f"c{n}": other for n, other in enumerate(others)})
        assert named(names_, found) == {("a", "b")}
        assert found.pairs[0].form == (BACK[form] if names[0] == "a" else form)
        assert 0.9 < found.pairs[0].likeness <= 1


def test_a_mirrored_copy_in_another_class_may_be_meant(tmp_path):
    first = scene(np.random.default_rng(0))
    mirrored = turn(first, 1)
    names, found = search(tmp_path, a_left=first, b_right=mirrored, c_left=mirrored.resize((200, 150)))
    assert named(names, found) == {("a_left", "c_left"), ("b_right", "c_left")}
    assert [twins.form for twins in found.pairs] == [1, 0]


def test_small_pictures_are_not_looked_at_in_the_mirror(tmp_path):
    first = scene(np.random.default_rng(0)).resize((LEAST_TURNED, LEAST_TURNED))
    small = first.resize((LEAST_TURNED - 1, LEAST_TURNED))
    assert len(search(tmp_path, a=first, b=turn(first, 1))[1].pairs) == 1
    (tmp_path / "small").mkdir()
    assert search(tmp_path / "small", a=small, b=turn(small, 1))[1].pairs == ()


def test_copies_of_a_symmetric_picture_are_told_once_and_as_they_are(tmp_path):
    half = np.asarray(scene(np.random.default_rng(0), (120, 160)))
    pixels = np.concatenate([half, half[:, ::-1]], axis=1) * np.linspace(0.8, 1, 240)[:, None]  # light from one side
    whole = Image.fromarray(pixels.astype(np.uint8))
    assert likeness(small_grey(whole), small_grey(turn(whole, 1))) > ALIKE
    found = search(tmp_path, a=whole, b=edited(whole, 1, np.random.default_rng(0)))[1]
    assert [twins.form for twins in found.pairs] == [0]


def test_of_equal_pictures_in_two_classes_each_has_its_mirrored_copies(tmp_path):
    first = scene(np.random.default_rng(0))
    names, found = search(tmp_path, a_x=first, b_y=first.copy(), c_y=turn(first, 1))
    assert named(names, found) == {("a_x", "b_y"), ("b_y", "c_y")}


def test_many_copies_of_symmetric_pictures_do_not_hide_a_mirrored_one(tmp_path, monkeypatch):
    monkeypatch.setattr("depthwise.data.twins.FREE", 5)
    half = np.asarray(scene(np.random.default_rng(1), (96, 128)))
    light = np.concatenate([half, half[:, ::-1]], axis=1) * np.linspace(0.8, 1, 192)[:, None]
    copies = {f"s{n}": Image.fromarray((light + n).clip(0, 255).astype(np.uint8)) for n in range(8)}
    first = scene(np.random.default_rng(0))
    names, found = search(tmp_path, a=first, b=turn(first, 1), **copies)
    assert ("a", "b") in named(names, found) and found.turned_radius


def test_where_everything_is_alike_in_some_form_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("depthwise.data.twins.FREE", -1000)
    first = scene(np.random.default_rng(0))
    found = search(tmp_path, a=first, b=turn(first, 1))[1]
    assert found.pairs == () and "mirrored and turned copies were not looked for" in found.notes[-1]
