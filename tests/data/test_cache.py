import errno
import os
from dataclasses import replace

import numpy as np
import pytest

from depthwise.console import Quiet
from depthwise.data import cache
from depthwise.data.audit import Skipped, content_hash
from depthwise.data.cache import load, read_all, read_picture
from depthwise.data.decode import decode
from depthwise.data.geometry import Geometry, apply
from depthwise.data.index import Record
from depthwise.errors import UserError

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


def loading(records, tmp_path, workers=2, console=None):
    return load(records, CLASSES, GEOMETRY, folder=tmp_path, workers=workers, console=console or Quiet())


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


def test_a_known_hash_is_not_computed_again(records, tmp_path):
    known = [replace(record, hash="0" * 15 + "a" + "0" * 16) for record in records]
    with loading(known, tmp_path) as (dataset, _):
        assert dataset.ids.tolist() == [10] * 5


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
