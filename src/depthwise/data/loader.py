"""Batches of a data set, each a pure function of its position, made a little ahead of the network by threads."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from depthwise.data.audit import parallel
from depthwise.data.augment import random_crop, random_flip
from depthwise.data.cache import Dataset
from depthwise.data.order import Ids, balanced_order, batch_sizes, deal, epoch_order


class Batch(NamedTuple):
    """Some samples of a data set."""

    images: NDArray[np.uint8]  # (B, S, S, C)
    labels: NDArray[np.int64]  # (B,)
    ids: Ids  # (B,)


def training_batches(
    dataset: Dataset,
    *,
    seed: int,
    epoch: int,
    start: int,
    batch_size: int,
    crop: float,
    flip: bool,
    workers: int,
    parts: range = range(1),
    num_parts: int = 1,
    is_balanced: bool = False,
) -> Iterator[Batch]:
    """Yield this epoch's batches from number `start` on: shuffled, shifted by up to `crop` of the side, mirrored.

    Each batch is dealt into `num_parts`; those in `parts` come one by one. `is_balanced`: all classes equally often.
    """
    order = epoch_order(dataset.ids, seed, epoch)
    shown_ids = dataset.ids[order]
    if is_balanced:
        order, shown_ids = balanced_order(dataset.labels, dataset.ids, seed, epoch)
    sizes = batch_sizes(len(dataset), batch_size)
    bounds = np.cumsum([0, *sizes])

    def make(place: tuple[int, int]) -> Batch:
        number, part = place
        places = np.arange(bounds[number], bounds[number + 1])[deal(sizes[number], num_parts)[part]]
        chosen, ids = order[places], shown_ids[places]
        images = dataset.images[chosen]
        images = random_crop(images, ids, seed, epoch, fraction=crop)
        if flip:
            images = random_flip(images, ids, seed, epoch)
        return Batch(images, dataset.labels[chosen], ids)

    places = [(number, part) for number in range(start, len(sizes)) for part in parts]
    return parallel(make, places, workers) if workers else map(make, places)


def ordered_batches(dataset: Dataset, batch_size: int) -> Iterator[Batch]:
    """Yield the whole data set in its own order, unchanged."""
    for start in range(0, len(dataset), batch_size):
        part = slice(start, start + batch_size)
        yield Batch(dataset.images[part], dataset.labels[part], dataset.ids[part])
