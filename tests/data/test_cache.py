import errno
import os
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from depthwise.console import Quiet
from depthwise.data import cache
from depthwise.data.audit import Skipped, content_hash
from depthwise.data.cache import load, read_all, read_picture
from depthwise.data.decode import decode
from depthwise.data.geometry import Geometry, apply
from depthwise.data.index import Record
from depthwise.data.pack import picture_sum, value_counts
from depthwise.data.store import Store
from depthwise.errors import UnusablePicture, UserError

GEOMETRY = Geometry(8, 3, mean=(0.5,) * 3, std=(0.5,) * 3)
CLASSES = ("cat", "dog", "fox")


@pytest.fixture
def records(tmp_path, save_noise) -> list[Record]:
    """Six pictures of 10 x 6 px and classes fox, cat, dog, fox, cat, dog; the third is broken."""
    folder = tmp_path / "photos"
    made = [
        Record(str(save_noise(folder / f"{number}.png", number, (10, 6))), ("fox", "cat", "dog")[number % 3])
        for number in range(6)
    ]
    made[2].path.write_bytes(b"<html>")
    return made


def loading(records, tmp_path, workers=2, console=None, **more):
    return load(records, CLASSES, GEOMETRY, folder=tmp_path, workers=workers, console=console or Quiet(), **more)


@pytest.fixture
def store(tmp_path, monkeypatch) -> Store:
    """A store that takes any number of pictures; files count as settled at once."""
    monkeypatch.setattr(cache, "MIN_STORED", 1)
    monkeypatch.setattr("depthwise.data.ledger.SETTLED_NS", -(10**12))
    monkeypatch.setenv("DEPTHWISE_CACHE", str(tmp_path / "cache"))
    return Store(tmp_path / "store", 2**20)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("most", [2**30, 0])
def test_good_pictures_are_in_and_bad_ones_named(records, tmp_path, workers, most, monkeypatch):
    monkeypatch.setattr(cache, "MAX_IN_MEMORY", most)
    with loading(records, tmp_path, workers) as (dataset, skipped):
        kept = [record for index, record in enumerate(records) if index != 2]
        assert [item.path for item in skipped] == [records[2].path]
        assert skipped[0].reason == "not_a_picture"
        assert len(dataset) == 5
        assert dataset.images.shape == (5, 8, 8, 3)
        assert np.array_equal(dataset.images, [apply(decode(record.path), GEOMETRY) for record in kept])
        assert dataset.labels.tolist() == [2, 0, 2, 0, 1]
        assert dataset.labels.dtype == np.int64
        hashes = [content_hash(record.path) for record in kept]
        assert dataset.records == tuple(replace(r, hash=h) for r, h in zip(kept, hashes, strict=True))
        assert dataset.ids.tolist() == [int(hash_[:16], 16) for hash_ in hashes]


def test_a_class_s_number_is_its_place_in_the_given_list(records, tmp_path):
    arguments = {"folder": tmp_path, "workers": 1, "console": Quiet()}
    with load(records, ("x", "fox", "dog", "cat"), GEOMETRY, **arguments) as (dataset, _):
        assert dataset.labels.tolist() == [1, 3, 1, 3, 2]


@pytest.mark.parametrize("is_stored", [False, True])
def test_a_photo_that_is_not_the_manifest_s_is_told_and_goes_by_its_own_hash(records, tmp_path, store, is_stored):
    hashes = [content_hash(record.path) for record in records]
    stated = [replace(record, hash=hash_) for record, hash_ in zip(records, hashes, strict=True)]
    stated[0] = replace(records[0], hash="0" * 15 + "a" + "0" * 16)
    told = []

    class Console(Quiet):
        def warn(self, text):
            told.append(text)

    with loading(stated, tmp_path, console=Console(), store=store if is_stored else None) as (dataset, _):
        assert [record.hash for record in dataset.records] == [hashes[n] for n in (0, 1, 3, 4, 5)]
    (line,) = told
    assert "1 pictures have changed since their hash was noted, e.g." in line
    assert "0.png" in line


def test_copies_have_names_of_their_own(records, tmp_path, save_noise):
    for number in (1, 4):
        save_noise(records[number].path, 0, (10, 6))
    with loading(records, tmp_path) as (dataset, _):
        assert len(set(dataset.ids.tolist())) == 5
        assert dataset.ids[0] == int(content_hash(records[0].path)[:16], 16)


def test_a_copy_that_could_not_be_read_shifts_no_other_picture(records, tmp_path, store, save_noise, monkeypatch):
    """Content names what a pack holds: of two equal files one must not be in it and the other not."""
    save_noise(records[1].path, 0, (10, 6))
    was_read = cache.read_picture
    fails = iter([True])

    def reading(path, *arguments, **more):
        if path == records[0].path and next(fails, False):
            return Skipped(path, "memory", "there is not enough memory")
        return was_read(path, *arguments, **more)

    monkeypatch.setattr(cache, "read_picture", reading)
    with loading(records, tmp_path, store=store) as (dataset, _):
        for image, record in zip(dataset.images, dataset.records, strict=True):
            assert np.array_equal(image, apply(decode(record.path), GEOMETRY))
    assert not list((tmp_path / "store").glob("*.pack"))


def test_no_pictures_are_an_empty_data_set(tmp_path):
    with loading([], tmp_path) as (dataset, skipped):
        assert (len(dataset), dataset.images.shape, skipped) == (0, (0, 8, 8, 3), [])


def test_grey_pictures_have_one_channel(records):
    pixels = read_picture(records[0].path, Geometry(8, 1))
    assert pixels.shape == (8, 8, 1)


def test_a_bad_picture_is_its_reason(records):
    result = read_picture(records[2].path, GEOMETRY)
    assert isinstance(result, Skipped)
    assert (result.path, result.reason) == (records[2].path, "not_a_picture")


def test_a_bad_picture_s_hash_stays_empty(records):
    assert [bool(record.hash) for record, _ in read_all(records, GEOMETRY, 2)] == [True, True, False, True, True, True]


def test_decoding_is_shown_with_its_total(records, tmp_path):
    seen = []

    class Console(Quiet):
        def track(self, items, total, label):
            seen.append((total, label))
            yield from items

    with loading(records, tmp_path, console=Console()):
        assert seen == [(6, "Decoding pictures")]


def test_a_large_data_set_lies_in_a_file_without_a_name(records, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "MAX_IN_MEMORY", 6 * 8 * 8 * 3 - 1)
    before = sorted(tmp_path.iterdir())
    with loading(records, tmp_path) as (dataset, _):
        assert isinstance(dataset.images, np.memmap)
        assert sorted(tmp_path.iterdir()) == before
    assert sorted(tmp_path.iterdir()) == before


def test_a_data_set_that_just_fits_lies_in_memory(records, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "MAX_IN_MEMORY", 6 * 8 * 8 * 3)
    with loading(records, tmp_path) as (dataset, _):
        assert not isinstance(dataset.images, np.memmap)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="no such call here")
def test_a_full_disk_is_told_before_anything_is_decoded(records, tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache, "MAX_IN_MEMORY", 0)
    monkeypatch.setattr(os, "posix_fallocate", refuse)
    monkeypatch.setattr(cache, "decode_image", lambda *_: pytest.fail("decoded"))
    with pytest.raises(UserError) as caught, loading(records, tmp_path):
        pass
    assert str(caught.value) == f"no room for 0.0 GiB of decoded pictures in {tmp_path}: No space left on device"


def test_a_folder_that_is_not_there_is_told(records, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "MAX_IN_MEMORY", 0)
    with pytest.raises(UserError, match=r"no room for .* in .*gone: No such file"), loading(records, tmp_path / "gone"):
        pass


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("fit", ["squash", "letterbox", "crop"])
@pytest.mark.parametrize("size", [(20, 31), (12, 12)])  # and one that has the size already
def test_a_picture_read_is_the_one_decoded_then_fitted_to_the_bit(tmp_path, save_noise, size, fit, channels):
    geometry = Geometry(12, channels, fit)
    for mode in ("L", "RGB"):
        photo = save_noise(tmp_path / f"{mode}.png", 1, size, mode)
        found = read_picture(photo, geometry)
        assert found.shape == (12, 12, channels) and found.dtype == np.uint8
        np.testing.assert_array_equal(found, apply(decode(photo, channels), geometry))


def same(one, other) -> bool:
    return (
        np.array_equal(one.images, other.images)
        and np.array_equal(one.labels, other.labels)
        and np.array_equal(one.ids, other.ids)
        and one.records == other.records
        and np.array_equal(one.picture_sums(), other.picture_sums())
        and np.array_equal(one.value_counts(), other.value_counts())
    )


def test_the_store_gives_what_memory_gives(records, tmp_path, store):
    with loading(records, tmp_path) as (plain, skipped):
        for _ in range(2):
            with loading(records, tmp_path, store=store) as (stored, skipped_too):
                assert same(plain, stored)
                assert isinstance(stored.images, np.memmap)
                assert skipped == skipped_too
        assert plain.picture_sums().tobytes() == b"".join(picture_sum(pixels) for pixels in plain.images)
        assert np.array_equal(plain.value_counts(), value_counts(plain.images))


def test_a_second_run_reads_no_file_of_an_unchanged_folder(records, tmp_path, store, monkeypatch):
    with loading(records, tmp_path, store=store):
        pass
    for module in ("cache", "contents"):
        monkeypatch.setattr(f"depthwise.data.{module}.content_hash", lambda path: pytest.fail(f"read {path}"))
    monkeypatch.setattr(cache, "decode_image", lambda *_: pytest.fail("decoded"))
    with loading(records, tmp_path, store=store) as (dataset, skipped):
        assert (len(dataset), len(skipped)) == (5, 1)


def test_a_changed_photo_is_decoded_again_whatever_its_record_says(records, tmp_path, store, save_noise):
    known = [replace(record, hash="0" * 15 + "a" + "0" * 16) for record in records]
    with loading(known, tmp_path, store=store) as (before, _):
        save_noise(records[3].path, 77, (10, 6))
        with loading(known, tmp_path, store=store) as (after, _):
            assert [i for i in range(5) if not np.array_equal(before.images[i], after.images[i])] == [2]


def test_a_file_that_takes_another_s_place_with_its_size_and_time_is_noticed(records, tmp_path, store):
    two, five = records[1].path, records[4].path
    size = max(path.stat().st_size for path in (two, five))
    for path in (two, five):  # what stands behind a PNG's end is not read
        path.write_bytes(path.read_bytes().ljust(size, b"\0"))
        os.utime(path, (1000, 1000))
    with loading(records, tmp_path, store=store) as (before, _):
        five.rename(tmp_path / "x.png")
        two.rename(five)
        (tmp_path / "x.png").rename(two)
        with loading(records, tmp_path, store=store) as (after, _):
            assert np.array_equal(after.images[[1, 3]], before.images[[3, 1]])


def test_a_photo_that_changes_while_it_is_read_is_not_stored(records, tmp_path, store, monkeypatch, save_noise):
    seen = []

    class Console(Quiet):
        def warn(self, text):
            seen.append(text)

    real = cache.decode_image

    def decode_and_change(path, *rest):
        pixels = real(path, *rest)
        if path == records[4].path and not seen:
            save_noise(path, 99, (10, 6))
        return pixels

    monkeypatch.setattr(cache, "decode_image", decode_and_change)
    with loading(records, tmp_path, store=store, console=Console()) as (dataset, _):
        assert len(dataset) == 5
    assert seen == [
        f"Decoded pictures are kept for this run only: {records[4].path} has changed while pictures were read"
    ]
    assert not list(store.folder.glob("*.pack"))


def test_files_that_cannot_be_read_are_named_with_the_store_too(records, tmp_path, store):
    records[0].path.unlink()
    os.mkfifo(records[1].path.with_name("pipe.png"))
    records[1] = replace(records[1], place=str(records[1].path.with_name("pipe.png")))
    with loading(records, tmp_path, store=store) as (dataset, skipped):
        assert len(dataset) == 3
        assert {item.reason for item in skipped} == {"missing", "not_a_file", "not_a_picture"}


def test_without_room_in_the_store_pictures_are_kept_for_the_run(records, tmp_path, store):
    seen = []

    class Console(Quiet):
        def warn(self, text):
            seen.append(text)

    with loading(records, tmp_path, store=replace(store, max_bytes=10), console=Console()) as (dataset, skipped):
        assert (len(dataset), len(skipped)) == (5, 1)
        assert not isinstance(dataset.images, np.memmap)
    assert seen == ["Decoded pictures are kept for this run only: 0.0 GiB are more than --cache-size allows (0.0 GiB)"]


def test_small_data_sets_stay_out_of_the_store(records, tmp_path, store, monkeypatch):
    monkeypatch.setattr(cache, "MIN_STORED", 6 * 8 * 8 * 3 + 1)
    with loading(records, tmp_path, store=store) as (dataset, _):
        assert not isinstance(dataset.images, np.memmap)
    assert not store.folder.exists()


def test_colours_and_what_is_measured_do_not_ask_for_another_pack(records, tmp_path, store):
    for geometry in (GEOMETRY, replace(GEOMETRY, mean=(0.1,) * 3)):
        arguments = {"folder": tmp_path, "workers": 1, "console": Quiet(), "store": store}
        with load(records, CLASSES, geometry, **arguments):
            pass
    assert len(list(store.folder.glob("*.pack"))) == 1


@pytest.mark.parametrize("change", [{"fit": "letterbox"}, {"image_size": 9}, {"channels": 1, "mean": (), "std": ()}])
def test_another_geometry_is_another_pack(records, tmp_path, store, change):
    for geometry in (GEOMETRY, replace(GEOMETRY, **change)):
        arguments = {"folder": tmp_path, "workers": 1, "console": Quiet(), "store": store}
        with load(records, CLASSES, geometry, **arguments):
            pass
    assert len(list(store.folder.glob("*.pack"))) == 2


def test_pictures_to_cut_from_are_larger_and_shown_at_the_networks_size(photo_record, tmp_path):
    with loading([photo_record] * 3, tmp_path, stored_size=32) as (dataset, _):
        assert (dataset.images.shape, dataset.side) == ((3, 32, 32, 3), 8)
        shown = dataset.shown(np.arange(2))
        exact = apply(decode(photo_record.path), GEOMETRY)
        assert shown.shape == (2, 8, 8, 3)
        assert np.abs(shown[0].astype(int) - exact).mean() < 4


@pytest.fixture
def photo_record() -> Record:
    return Record(str(Path(__file__).parents[1] / "photos" / "chelsea.jpg"), "cat")


def test_only_pictures_to_cut_from_may_be_drafts(photo_record, tmp_path):
    with (
        loading([photo_record], tmp_path, stored_size=32) as (large, _),
        loading([photo_record], tmp_path) as (same, _),
    ):
        assert np.array_equal(same.images[0], apply(decode(photo_record.path), GEOMETRY))
        exact = apply(decode(photo_record.path), replace(GEOMETRY, image_size=32)).astype(int)
        difference = np.abs(large.images[0] - exact)
        assert 0 < difference.mean() < 4


@pytest.mark.parametrize("is_broken", [False, True])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_draft_is_whole_where_its_file_is(tmp_path, is_broken, progressive):
    """Of small JPEGs the data are counted by decoding again: at the draft's size."""
    buffer = BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (160, 200, 3), np.uint8)
    Image.fromarray(noise).save(buffer, "JPEG", progressive=progressive)
    content = buffer.getvalue()
    (tmp_path / "a.jpg").write_bytes(content[: len(content) * 3 // 4] + b"\xff\xd9" if is_broken else content)
    if is_broken:
        with pytest.raises(UnusablePicture, match="truncated"):
            decode(tmp_path / "a.jpg", 3, 40)
    else:
        assert decode(tmp_path / "a.jpg", 3, 40).shape == (40, 50, 3)
