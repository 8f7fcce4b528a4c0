"""Features of pictures are the same computed and stored, and are taken again where nothing has changed."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from depthwise.config import TrainConfig
from depthwise.console import Quiet
from depthwise.data.augment import Augmentation
from depthwise.data.cache import Dataset
from depthwise.data.loader import epoch_batches
from depthwise.data.store import Store
from depthwise.models.create import create_model
from depthwise.models.normalise import Normalise
from depthwise.workflows.features import BATCH, Backbone, View, embed, training_views

COMPUTED, TAKEN = ["Computing features"], ["Checking stored features"]
HOW = Augmentation(crop=0.1, flip=True)
SHOWN = View(1, 0, HOW)


class Told(Quiet):
    def __init__(self):
        self.labels, self.warnings = [], []

    def track(self, items, total, label):
        self.labels.append(label)
        return items

    def warn(self, text):
        self.warnings.append(text)


def pictures(number: int = BATCH + 9, seed: int = 0) -> Dataset:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (number, 32, 32, 3), np.uint8)
    return Dataset(images, np.zeros(number, np.int64), rng.integers(0, 2**63, number).astype(np.uint64), ())


def backbone(
    *, seed: int = 0, num_classes: int = 3, model: str = "mobilenet_v3_small", mean: float = 0.5, **options
) -> Backbone:
    torch.manual_seed(seed)
    network = create_model(model, num_classes, small_input=True, **options).eval()
    return Backbone(network, Normalise((mean,) * 3, (0.5,) * 3), torch.device("cpu"))


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "pictures", 2**20)


def labels(network: Backbone, dataset: Dataset, store: Store, view: View | None = None) -> list[str]:
    """Return what is told while features are asked for."""
    told = Told()
    embed(network, dataset, told, store=store, view=view)
    return told.labels


@pytest.mark.parametrize("view", [None, SHOWN])
def test_stored_features_have_the_bits_of_those_computed(store, view):
    network, dataset, told = backbone(), pictures(), Told()
    computed = embed(network, dataset, Quiet(), view=view)
    kept = embed(network, dataset, told, store=store, view=view)
    taken = embed(network, dataset, told, store=store, view=view)
    assert computed.shape == (len(dataset), network.num_features) and computed.dtype == np.float32
    assert np.array_equal(computed, kept) and np.array_equal(computed, taken)
    assert told.labels == COMPUTED + TAKEN and told.warnings == []


def test_another_head_takes_what_is_stored(store):
    dataset, first, other = pictures(), backbone(), backbone(num_classes=7)
    body = {name: t for name, t in first.model.state_dict().items() if not name.startswith("classifier.")}
    other.model.load_state_dict(body, strict=False)
    assert labels(first, dataset, store) == COMPUTED
    assert labels(other, dataset, store) == TAKEN


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"mean": 0.4}, {"model": "mobilenet_v3_small_minimal"}, {"width": 0.5}],
    ids=str,
)
def test_another_network_computes_its_own(store, change):
    dataset = pictures()
    embed(backbone(), dataset, Quiet(), store=store)
    assert labels(backbone(**change), dataset, store) == COMPUTED


def test_other_running_statistics_are_another_network(store):
    network, other, dataset = backbone(), backbone(), pictures()
    embed(network, dataset, Quiet(), store=store)
    dict(other.model.named_buffers())["stem.norm.running_mean"].add_(1)
    assert labels(other, dataset, store) == COMPUTED


@pytest.mark.parametrize("place", ["torch.get_num_threads", "depthwise.workflows.features.processor"])
def test_other_threads_and_another_processor_add_in_another_order(monkeypatch, place):
    before = backbone().digest
    monkeypatch.setattr(place, lambda: 64)
    assert backbone().digest != before


@pytest.mark.parametrize("view", [View(2, 0, HOW), View(1, 1, HOW), View(1, 0, Augmentation(crop=0.2, flip=True))])
def test_other_views_are_computed(store, view):
    network, dataset = backbone(), pictures()
    embed(network, dataset, Quiet(), store=store, view=SHOWN)
    assert labels(network, dataset, store, view) == COMPUTED


def test_a_picture_is_named_by_its_whole_batch(store):
    """Its last bits may depend on the others: what other pictures are in the same batch with is computed again."""
    network, dataset = backbone(), pictures()
    before = embed(network, dataset, Quiet(), store=store)
    other = pictures()
    other.images[-1] = 0
    found = embed(network, other, Quiet(), store=store)
    assert np.array_equal(found, embed(network, other, Quiet()))
    assert np.array_equal(found[:BATCH], before[:BATCH]) and not np.array_equal(found[-1], before[-1])


def test_a_damaged_file_is_computed_anew(store):
    network, dataset, told = backbone(), pictures(), Told()
    before = np.array(embed(network, dataset, Quiet(), store=store))
    (path,) = store.folder.glob("*.pack")
    data = bytearray(path.read_bytes())
    data[4 * network.num_features * BATCH + 100] ^= 1
    path.write_bytes(data)
    assert np.array_equal(embed(network, dataset, told, store=store), before)
    assert told.labels == TAKEN + COMPUTED
    assert told.warnings == [f"{path}: 1 of {len(dataset)} stored features are damaged and are computed again"]
    assert labels(network, dataset, store) == TAKEN


def test_without_room_they_are_kept_in_memory(tmp_path):
    network, dataset, told = backbone(), pictures(), Told()
    found = embed(network, dataset, told, store=Store(tmp_path / "pictures", 1000))
    assert np.array_equal(found, embed(network, dataset, Quiet()))
    assert len(told.warnings) == 1 and told.warnings[0].startswith("Features are kept for this run only: 0.0 GiB are")
    assert list((tmp_path / "pictures").glob("*.pack")) == []


@pytest.mark.parametrize(
    ("settings", "number"),
    [({}, 3), ({"augment": "none"}, 1), ({"epochs": 2}, 2), ({"frozen_views": 1}, 1)],
)
def test_views_are_the_plain_one_and_those_of_the_epochs_after(settings, number):
    config = TrainConfig(**{"freeze": "backbone", "frozen_views": 3, "epochs": 9, "seed": 4, **settings})
    views, dataset = training_views(config), pictures()
    config = replace(config, augment_warmup=0)
    assert len(views) == number
    rows = np.arange(len(dataset))
    assert np.array_equal(views[0].of(dataset, rows), dataset.images)
    for view in views[1:]:
        batches = list(epoch_batches(dataset, config, epoch=view.number, workers=0))
        ids, images = (np.concatenate(parts) for parts in zip(*((b.ids, b.images) for b in batches), strict=True))
        assert np.array_equal(view.of(dataset, np.argsort(dataset.ids)), images[np.argsort(ids)])
