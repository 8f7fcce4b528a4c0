import numpy as np
import pytest

from depthwise.data.augment import Augmentation
from depthwise.data.cache import Dataset
from depthwise.data.loader import training_batches
from depthwise.data.order import balanced_order, mix
from depthwise.training.balance import class_weights, log_priors

COUNTS = np.array([6, 3, 1])
LABELS = np.repeat(np.arange(3), COUNTS)
IDS = mix(np.arange(10), 5)


def test_weights_are_the_inverse_frequency_with_a_mean_of_one():
    weights = class_weights(COUNTS)
    assert weights == pytest.approx([10 / 18, 10 / 9, 10 / 3])
    assert weights[LABELS].mean() == pytest.approx(1.0)
    assert class_weights(np.array([4, 4])).tolist() == [1, 1]


def test_log_priors_are_the_shares_of_the_classes():
    assert np.exp(log_priors(COUNTS)) == pytest.approx([0.6, 0.3, 0.1])


@pytest.mark.parametrize("epoch", range(4))
def test_a_balanced_epoch_has_as_many_pictures_and_all_classes_alike(epoch: int):
    positions, ids = balanced_order(LABELS, IDS, 7, epoch)
    shares = np.bincount(LABELS[positions])
    assert len(positions) == 10 and sorted(shares) == [3, 3, 4]
    assert shares[epoch % 3] == 4  # the odd place goes round
    assert len(set(ids.tolist())) == 10
    for name in (1, 2):  # all pictures of a rare class are shown
        assert set(positions[LABELS[positions] == name]) == set(np.flatnonzero(name == LABELS))


def test_the_balanced_order_is_a_function_of_seed_and_epoch():
    first = [balanced_order(LABELS, IDS, 7, epoch)[0].tolist() for epoch in range(6)]
    assert first == [balanced_order(LABELS, IDS, 7, epoch)[0].tolist() for epoch in range(6)]
    assert len(set(map(tuple, first))) == 6
    assert balanced_order(LABELS, IDS, 8, 0)[0].tolist() != first[0]
    shown = {position for order in first for position in order}
    assert shown == set(range(10))  # a class that is too large shows others in each epoch


def test_the_classes_are_mixed_and_a_picture_s_first_turn_keeps_its_id():
    positions, ids = balanced_order(np.repeat([0, 1], [90, 10]), mix(np.arange(100), 1), 0, 0)
    halves = np.repeat([0, 1], [90, 10])[positions].reshape(2, 50).sum(axis=1)
    assert 15 <= halves[0] <= 35
    own = ids == mix(np.arange(100), 1)[positions]
    assert own.sum() == 50 + 10


def test_classes_of_equal_size_are_all_shown_once():
    labels = np.arange(12) % 3
    positions, ids = balanced_order(labels, mix(np.arange(12), 1), 0, 3)
    assert sorted(positions) == list(range(12))
    assert ids.tolist() == mix(np.arange(12), 1)[positions].tolist()


def test_batches_of_a_balanced_epoch_are_its_order_and_a_picture_s_turns_are_cropped_differently():
    labels = np.repeat([0, 1], [15, 1])
    images = np.random.default_rng(0).integers(0, 256, (16, 12, 12, 1), np.uint8)
    dataset = Dataset(images, labels, mix(np.arange(16), 1), ())
    settings = {"seed": 3, "epoch": 0, "start": 0, "batch_size": 5, "side": 12, "workers": 0}
    settings["how"] = Augmentation(crop=0.25, flip=True)
    batches = list(training_batches(dataset, **settings, is_balanced=True))
    positions, ids = balanced_order(labels, dataset.ids, 3, 0)
    assert np.concatenate([batch.labels for batch in batches]).tolist() == labels[positions].tolist()
    assert np.concatenate([batch.ids for batch in batches]).tolist() == ids.tolist()
    rare = np.concatenate([batch.images[batch.labels == 1] for batch in batches])
    assert len(rare) == 8 and len({picture.tobytes() for picture in rare}) >= 6
    later = list(training_batches(dataset, **settings | {"start": 2}, is_balanced=True))
    assert [batch.ids.tolist() for batch in later] == [batch.ids.tolist() for batch in batches[2:]]
