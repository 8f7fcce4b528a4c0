from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthwise.config import TrainConfig
from depthwise.data.augment import Augmentation
from depthwise.data.cache import Dataset
from depthwise.data.index import Record
from depthwise.data.loader import epoch_batches, ordered_batches, training_batches


def dataset(number: int) -> Dataset:
    """Pictures of noise, each one's label its number."""
    images = np.random.default_rng(0).integers(0, 256, (number, 8, 8, 3), np.uint8)
    ids = np.random.default_rng(1).integers(0, 2**63, number).astype(np.uint64)
    return Dataset(images, np.arange(number), ids, tuple(Record(str(Path(f"{i}.png")), str(i)) for i in range(number)))


def batches(data: Dataset, *, how: Augmentation | None = None, crop: float = 0.2, flip: bool = True, **changes):
    how = how or Augmentation(crop=crop, flip=flip)
    arguments = {"seed": 5, "epoch": 2, "start": 0, "batch_size": 8, "side": data.side, "workers": 0}
    return list(training_batches(data, how=how, **{**arguments, **changes}))


def labels(found) -> list[int]:
    return [label for batch in found for label in batch.labels.tolist()]


def equal(one, other) -> bool:
    return len(one) == len(other) and all(
        np.array_equal(a.images, b.images) and np.array_equal(a.labels, b.labels)
        for a, b in zip(one, other, strict=True)
    )


@given(st.integers(0, 60), st.integers(1, 20), st.integers(0, 99))
def test_an_epoch_shows_every_sample_once(number, batch_size, epoch):
    found = batches(dataset(number), batch_size=batch_size, epoch=epoch)
    assert sorted(labels(found)) == list(range(number))
    assert all(len(batch.images) == len(batch.labels) <= max(batch_size, 3) for batch in found)


def test_the_last_two_batches_share_the_remainder():
    assert [len(batch.labels) for batch in batches(dataset(25))] == [8, 8, 5, 4]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_the_number_of_workers_changes_nothing(workers):
    data = dataset(50)
    assert equal(batches(data, workers=workers), batches(data))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_in_parts_is_the_batch(workers):
    data = dataset(25)  # batches of 8, 8, 5, 4
    parts = batches(data, parts=range(3), num_parts=3, workers=workers, start=1)
    assert [len(part.labels) for part in parts] == [3, 3, 2, 2, 2, 1, 2, 1, 1]
    whole = batches(data)[1:]
    for name in ("images", "labels", "ids"):
        joined = [np.concatenate([getattr(p, name) for p in parts[n : n + 3]]) for n in (0, 3, 6)]
        assert all(np.array_equal(a, getattr(b, name)) for a, b in zip(joined, whole, strict=True))
    assert equal(batches(data, parts=range(1, 2), num_parts=3, workers=workers, start=1), parts[1::3])


@pytest.mark.parametrize("start", range(8))
@pytest.mark.parametrize("workers", [0, 2])
def test_going_on_from_a_batch_shows_what_would_have_come(start, workers):
    data = dataset(50)  # 7 batches
    assert equal(batches(data, start=start, workers=workers), batches(data)[start:])


def test_unchanged_pictures_keep_their_labels():
    data = dataset(30)
    for batch in batches(data, crop=0, flip=False):
        assert np.array_equal(batch.images, data.images[batch.labels])


def test_a_flip_mirrors_some_pictures_and_only_those():
    data = dataset(60)
    kinds = set()
    for batch in batches(data, crop=0):
        for image, label in zip(batch.images, batch.labels, strict=True):
            is_same = np.array_equal(image, data.images[label])
            assert is_same or np.array_equal(image, data.images[label][:, ::-1])
            kinds.add(is_same)
    assert kinds == {True, False}


def test_a_crop_without_flip_only_shifts():
    data = dataset(60)
    changed = 0
    for batch in batches(data, crop=0.13, flip=False):  # one pixel
        for image, label in zip(batch.images, batch.labels, strict=True):
            padded = np.pad(data.images[label], ((1, 1), (1, 1), (0, 0)), mode="edge")
            windows = [padded[y : y + 8, x : x + 8] for y in range(3) for x in range(3)]
            assert any(np.array_equal(image, window) for window in windows)
            changed += not np.array_equal(image, data.images[label])
    assert changed > 30


def test_a_picture_s_change_does_not_depend_on_the_batch_size():
    data = dataset(50)
    few, many = (np.concatenate([batch.images for batch in batches(data, batch_size=size)]) for size in (3, 20))
    assert np.array_equal(few, many)


@pytest.mark.parametrize("change", [{"seed": 6}, {"epoch": 3}])
def test_another_seed_or_epoch_is_another_order(change):
    data = dataset(50)
    assert labels(batches(data, **change)) != labels(batches(data))


def test_where_a_sample_lies_in_the_data_set_changes_nothing():
    data = dataset(50)
    moved = np.random.default_rng(2).permutation(50)
    records = tuple(data.records[i] for i in moved)
    assert equal(batches(Dataset(data.images[moved], data.labels[moved], data.ids[moved], records)), batches(data))


def test_training_leaves_the_data_set_as_it_was():
    data = dataset(20)
    before = data.images.copy()
    batches(data)
    assert np.array_equal(data.images, before)


@pytest.mark.parametrize(("number", "sizes"), [(0, []), (8, [8]), (20, [8, 8, 4]), (17, [8, 8, 1])])
def test_ordered_batches_show_all_in_order_and_unchanged(number, sizes):
    data = dataset(number)
    found = list(ordered_batches(data, 8))
    assert [len(batch.labels) for batch in found] == sizes
    assert labels(found) == list(range(number))
    assert all(np.array_equal(batch.images, data.images[batch.labels]) for batch in found)


def test_blending_begins_as_the_other_changes_do():
    data = dataset(64)
    how = Augmentation(mixup=1.0, augment_warmup=2.0)
    first, half, last = (np.concatenate([b.shares for b in batches(data, how=how, epoch=e)]) for e in range(3))
    assert (first == 1).all()
    assert 0.25 < (half == 1).mean() < 0.75
    assert (last == 1).mean() < 0.1
    shown = {image.tobytes() for batch in batches(data, how=how, epoch=0) for image in batch.images}
    assert shown == {image.tobytes() for image in data.images}


MIXES = [Augmentation(mixup=0.4), Augmentation(cutmix=1.0), Augmentation(crop=0.2, flip=True, mixup=0.4, cutmix=1.0)]


@pytest.mark.parametrize("how", MIXES)
@pytest.mark.parametrize("workers", [0, 2])
def test_a_mixed_batch_in_parts_is_the_batch(how, workers):
    data = dataset(25)
    parts = batches(data, how=how, parts=range(3), num_parts=3, workers=workers)
    whole = batches(data, how=how)
    for name in ("images", "labels", "ids", "others", "shares"):
        joined = [np.concatenate([getattr(p, name) for p in parts[n : n + 3]]) for n in (0, 3, 6, 9)]
        assert all(np.array_equal(a, getattr(b, name)) for a, b in zip(joined, whole, strict=True))


@pytest.mark.parametrize("how", MIXES)
def test_mixed_batches_go_on_from_any_batch(how):
    data = dataset(50)
    assert equal(batches(data, how=how, start=3), batches(data, how=how)[3:])


def test_mixed_pictures_are_their_two_in_the_shares_of_their_labels():
    data = dataset(40)
    for batch in batches(data, how=Augmentation(mixup=1.0)):
        (labels, shares), (others, rests) = batch.targets
        assert np.allclose(shares + rests, 1)
        assert (labels != others).all()
        one, two = (data.images[chosen].astype(float) for chosen in (labels, others))
        expected = shares[:, None, None, None] * one + rests[:, None, None, None] * two
        assert np.abs(batch.images - expected).max() <= 0.51


def test_batches_that_are_not_mixed_have_one_label_each():
    for batch in batches(dataset(20)):
        assert batch.others is None and batch.shares is None
        assert [(labels is batch.labels, share) for labels, share in batch.targets] == [(True, 1.0)]


def test_batches_have_the_side_that_is_asked_for_from_larger_pictures():
    data = replace(dataset(20), image_size=6)
    assert data.side == 6
    assert all(batch.images.shape[1:] == (6, 6, 3) for batch in batches(data, how=Augmentation(scale_min=0.3)))
    assert all(batch.images.shape[1:] == (4, 4, 3) for batch in batches(data, how=Augmentation(), side=4))
    unchanged = batches(data, how=Augmentation())[0]
    assert np.array_equal(unchanged.images, data.shown(unchanged.labels))


def test_views_are_shown_in_turn():
    plain = dataset(20)
    views = tuple(np.full((20, 8, 8, 3), value, np.uint8) for value in (1, 2))
    config = TrainConfig(augment="none", batch_size=8)
    for epoch, value in enumerate((None, 1, 2, None, 1)):
        shown = list(epoch_batches(replace(plain, views=views), config, epoch=epoch, workers=0))
        usual = list(epoch_batches(plain, config, epoch=epoch, workers=0))
        assert labels(shown) == labels(usual)
        assert equal(shown, usual) if value is None else all((batch.images == value).all() for batch in shown)


@pytest.mark.parametrize("epoch", [0, 3])
def test_small_pictures_of_progressive_training_show_as_much(epoch, monkeypatch):
    """--short-side 16 16 of 8 px shows half of a side, whatever the epoch's size."""
    seen = []
    monkeypatch.setattr("depthwise.data.loader.augment", lambda *a: seen.append((a[5].short_side, a[6])) or a[0][a[1]])
    config = TrainConfig(epochs=4, batch_size=8, short_side=(16, 32), crop=0.0, flip=False, progressive=4)
    list(epoch_batches(dataset(8), config, epoch=epoch, workers=0))
    assert seen == [(((8, 16), 4) if epoch == 0 else ((16, 32), 8))]
