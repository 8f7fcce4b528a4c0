"""Batches of a data set, each a pure function of its position, made a little ahead of the network by threads."""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from depthwise.config import TrainConfig
from depthwise.data.audit import parallel
from depthwise.data.augment import Augmentation, are_changed, augment, resolve
from depthwise.data.augment_mix import blend, plan_mix
from depthwise.data.cache import Dataset
from depthwise.data.order import Ids, balanced_order, batch_sizes, deal, epoch_order
from depthwise.data.progressive import epoch_size


class Batch(NamedTuple):
    """Some samples of a data set."""

    images: NDArray[np.uint8]  # (B, S, S, C)
    labels: NDArray[np.int64]  # (B,)
    ids: Ids  # (B,)
    others: NDArray[np.int64] | None = None  # (B,): labels of the pictures that were mixed in
    shares: NDArray[np.float32] | None = None  # (B,): of `labels` against `others`, in [0, 1]

    @property
    def targets(self) -> list[tuple[NDArray[np.int64], NDArray[np.float32] | float]]:
        """Labels, and which share of its picture each stands for: one pair, or two where pictures are mixed."""
        if self.others is None or self.shares is None:
            return [(self.labels, 1.0)]
        return [(self.labels, self.shares), (self.others, 1 - self.shares)]


def training_batches(
    dataset: Dataset,
    *,
    seed: int,
    epoch: int,
    start: int,
    batch_size: int,
    how: Augmentation,
    side: int,
    workers: int,
    parts: range = range(1),
    num_parts: int = 1,
    is_balanced: bool = False,
) -> Iterator[Batch]:
    """Yield this epoch's batches from number `start` on: shuffled, changed as `how` says, with sides of `side` px.

    Each batch is dealt into `num_parts`; those in `parts` come one by one. Pictures that are mixed have their partners
    from the whole batch, so parts of it are what it would be in one piece. `is_balanced`: all classes equally often.
    """
    order = epoch_order(dataset.ids, seed, epoch)
    ids = dataset.ids[order]
    if is_balanced:
        order, ids = balanced_order(dataset.labels, dataset.ids, seed, epoch)
    sizes = batch_sizes(len(dataset), batch_size)
    bounds = np.cumsum([0, *sizes])

    def changed(places: NDArray[np.intp]) -> NDArray[np.uint8]:
        return augment(dataset.images, order[places], ids[places], seed, epoch, how, side)

    def make(place: tuple[int, int]) -> Batch:
        number, part = place
        whole = np.arange(bounds[number], bounds[number + 1])
        mine = deal(sizes[number], num_parts)[part]
        places = whole[mine]
        batch = Batch(changed(places), dataset.labels[order[places]], ids[places])
        if not (how.mixup or how.cutmix):
            return batch
        plan = plan_mix(ids[whole], seed, epoch, mixup=how.mixup, cutmix=how.cutmix)
        plan = plan.without(~are_changed(ids[whole], seed, epoch, how))
        partners = plan.partners[mine]
        is_here = (partners >= mine.start) & (partners < mine.stop)
        others = np.empty_like(batch.images)
        others[is_here] = batch.images[partners[is_here] - mine.start]
        others[~is_here] = changed(whole[partners[~is_here]])
        images, shares = blend(batch.images, others, batch.ids, seed, epoch, plan.shares[mine], plan.is_cut[mine])
        return Batch(images, batch.labels, batch.ids, dataset.labels[order[whole[partners]]], shares)

    places = [(number, part) for number in range(start, len(sizes)) for part in parts]
    return parallel(make, places, workers) if workers else map(make, places)


def epoch_batches(
    dataset: Dataset,
    config: TrainConfig,
    *,
    epoch: int,
    start: int = 0,
    workers: int,
    parts: range = range(1),
    num_parts: int = 1,
) -> Iterator[Batch]:
    """Yield what the network is shown in an epoch (0 is the first) of a run, from batch number `start` on."""
    dataset, how = dataset.in_epoch(epoch), resolve(config)
    side = epoch_size(epoch, config.epochs, config.progressive, dataset.side)
    low, high = how.short_side
    scale = side / dataset.side  # small pictures show as much as large ones
    return training_batches(
        dataset,
        seed=config.seed,
        epoch=epoch,
        start=start,
        batch_size=config.batch_size,
        how=replace(how, short_side=(round(scale * low), round(scale * high))),
        side=side,
        workers=workers,
        parts=parts,
        num_parts=num_parts,
        is_balanced=config.class_balance == "sampler",
    )


def ordered_batches(dataset: Dataset, batch_size: int) -> Iterator[Batch]:
    """Yield the whole data set in its own order, unchanged."""
    for start in range(0, len(dataset), batch_size):
        part = slice(start, start + batch_size)
        yield Batch(dataset.images[part], dataset.labels[part], dataset.ids[part])
