"""What a training run learns from: the split where there is none yet, and the pictures as the network takes them."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from depthwise.config import SplitConfig, TrainConfig
from depthwise.console import Quiet
from depthwise.data.audit import Skipped, check_share
from depthwise.data.augment import resolve
from depthwise.data.cache import Dataset, load
from depthwise.data.geometry import Geometry
from depthwise.data.index import Index, Record
from depthwise.data.mirror import mirrored_likeness
from depthwise.data.probe import probe
from depthwise.data.quarantine import leave_out
from depthwise.data.store import Store
from depthwise.errors import UserError
from depthwise.models.registry import ModelSpec
from depthwise.workflows.splitting import check_same_classes, deal, look_at, place

STORED = 8 / 7
"""Stored side over the input's: 256 px for 224, as AlexNet's (Krizhevsky et al. 2012, section 4.1) to the pixel."""


@dataclass(frozen=True)
class TrainingPictures:
    """Decoded pictures for training and validation, and what became of the others."""

    training: Dataset
    valid: Dataset
    test: tuple[Record, ...]
    """Not decoded: training never looks at them."""
    classes: tuple[str, ...]
    skipped: tuple[Skipped, ...]

    @property
    def records(self) -> tuple[Record, ...]:
        """Every picture of the run: those that could be used, and the test pictures."""
        return (*self.training.records, *self.valid.records, *self.test)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over pixels, labels and ids: equal when the run would see the same."""
        digest = hashlib.sha256()
        for part in (self.training, self.valid):
            for array in (part.labels, part.ids, part.picture_sums()):
                digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


@contextmanager
def load_pictures(
    index: Index,
    geometry: Geometry,
    folder: Path,
    skipped: list[Skipped],
    workers: int,
    console: Quiet,
    *,
    store: Store | None = None,
    stored_size: int | None = None,
) -> Iterator[TrainingPictures]:
    """Yield the decoded pictures of a run in `folder`; `skipped` are those already left out.

    `stored_size`: side of the training pictures, where that is above the network's input.

    Raises UserError when more than a tenth cannot be used, or a class loses all its pictures.
    """
    room = next(place for place in folder.absolute().parents if place.is_dir())
    parts = [index.part(name) for name in ("train", "valid")]
    loading = partial(load, classes=index.classes, folder=room, workers=workers, console=console, store=store)
    with (
        loading(parts[0], geometry=geometry, stored_size=stored_size) as (training, lost),
        loading(parts[1], geometry=geometry) as (valid, lost_too),
    ):
        skipped = [*skipped, *lost, *lost_too]
        check_share(skipped, len(training) + len(valid) + len(skipped))
        check_same_classes(index.classes, training.records, f"{index.source} (train)")
        check_same_classes(index.classes, valid.records, f"{index.source} (valid)")
        known = {record.hash for record in training.records}
        if num_copies := sum(record.hash in known for record in valid.records):
            console.warn(f"{num_copies} validation pictures are copies of training pictures: their accuracy means less")
        yield TrainingPictures(training, valid, index.part("test"), index.classes, tuple(skipped))


def split_index(
    index: Index, config: TrainConfig, split: SplitConfig | None, workers: int, console: Quiet
) -> tuple[Index, list[Skipped]]:
    """Return the index with a split for every record, and what could not be used."""
    split = split or SplitConfig(seed=config.seed)
    if split.valid <= 0:
        raise UserError(f"--valid {split.valid:g}: training needs validation pictures, to choose the best epoch by")
    if index.is_split:
        _refuse_settled(index, split)
        kept, num_left_out = leave_out(index.records, split.quarantine)
        if num_left_out:
            console.say(f"{num_left_out} pictures left out, as {split.quarantine} says.")
        index = replace(index, records=tuple(kept))
    if not index.is_split:
        console.say(
            f"No split in {index.source}: dealing out {split.valid:.0%} for validation, {split.test:.0%} for the test."
        )
        dealt = deal(index, split, workers=workers, console=console)
        for note in dealt.notes[len(index.notes) :]:
            console.warn(note)
        return replace(index, records=dealt.records, notes=dealt.notes), list(dealt.skipped)
    for note in index.notes:
        console.warn(note)
    if index.source.is_dir():
        console.say(
            f"Not searched for look-alikes between its splits, only for copies: `depthwise audit {index.source}` does."
        )
    if index.part("valid"):
        return index, []
    console.say(f"No validation pictures in {index.source}: taking {split.valid:.0%} of each class from train.")
    looked = look_at(index.part("train"), workers, console)
    check_same_classes(index.classes, looked.records, f"{index.source} (train)")
    records, _, notes = place(looked, index.source, replace(split, test=0.0))
    for note in notes:
        console.warn(note)
    return replace(index, records=(*records, *index.part("test")), notes=(*index.notes, *notes)), looked.skipped


def _refuse_settled(index: Index, split: SplitConfig) -> None:
    """Raise UserError when `split` asks for what the index says itself: all, or all but how validation is taken."""
    left = SplitConfig(seed=split.seed, quarantine=split.quarantine)
    if not index.part("valid"):
        left = replace(left, valid=split.valid, group_by=split.group_by)
    if split != left:
        flags = "--valid, --test and --group-by" if index.part("valid") else "--test"
        raise UserError(f"{index.source} says itself who is in which split; leave {flags} out")


def choose_geometry(
    index: Index, spec: ModelSpec, config: TrainConfig, console: Quiet, donor: Geometry | None = None
) -> Geometry:
    """Return size and channels as configured, else as `donor` has them, else as network and pictures suggest.

    Colours are the donor's, whose weights were trained with them; without one they are not yet measured.
    """
    seen = probe(index.part("train"))
    size = config.image_size or (
        donor.image_size if donor else spec.image_size if spec.is_fixed_size else min(spec.image_size, seen.image_size)
    )
    if spec.is_fixed_size and size != spec.image_size:
        raise UserError(f"--image-size {size}: {spec.name} takes {spec.image_size} px only")
    channels = config.channels or (donor.channels if donor else 1 if seen.is_grey else 3)
    console.say(
        f"Pictures: {seen.description}. Input: {size} x {size} px, {'grey' if channels == 1 else 'RGB'}, {config.fit}."
    )
    if seen.are_shapes_mixed and config.fit == "squash":
        low, high = seen.shapes
        console.say(
            f"Shapes are mixed, {low:.2f} to {high:.2f} wide for a height of 1: --fit letterbox would keep them, "
            "--fit crop show their middle."
        )
    if donor and donor.channels == channels:
        return Geometry(size, channels, config.fit, donor.mean, donor.std, donor.resample)
    return Geometry(size, channels, config.fit)


def choose_stored_size(index: Index, geometry: Geometry, config: TrainConfig) -> int:
    """Return the side at which training pictures are kept: 8/7 of the input's (256 for 224 px) to cut from, else its.

    Larger only where parts are cut out, and where the pictures themselves are as large.
    """
    larger = round(geometry.image_size * STORED)
    seen = probe(index.part("train")) if resolve(config).cuts_out and config.freeze == "none" else None
    return larger if seen and min(seen.width, seen.height) >= larger else geometry.image_size


def can_mirror(training: Dataset, config: TrainConfig, console: Quiet) -> bool:
    """Return whether mirror images of the training pictures may be shown where a preset has them; if not, say why."""
    is_plain = config.freeze == "backbone" and config.frozen_views == 1
    if config.flip is not None or is_plain or not resolve(config).flip:
        return True
    found = mirrored_likeness(training.images, training.labels)
    if not found.keeps_class:
        console.say(
            "No mirror images are shown: they look like other classes. The picture most like a picture has its class "
            f"for {found.plain:.0%} of {found.num_images:,} training pictures, and for {found.mirrored:.0%} of their "
            "mirror images (--flip shows them all the same)."
        )
    return found.keeps_class


def shown_as(config: TrainConfig, training: Mapping[str, Any]) -> TrainConfig:
    """Return how a run shows pictures: without mirror images where its card's `training` says so."""
    return config if training.get("can_mirror", True) else replace(config, flip=False)


def measure_colours(geometry: Geometry, training: Dataset, *, centre_only: bool = False) -> Geometry:
    """Return the geometry with mean and standard deviation of the training pictures, per channel.

    `centre_only`: a deviation that leaves the differences as large as those of the files' bytes.
    """
    counts = training.value_counts()
    values = np.arange(256) / 255
    weights = counts / counts.sum(axis=1, keepdims=True)
    mean = (weights * values).sum(axis=1)
    std = np.sqrt((weights * (values - mean[:, None]) ** 2).sum(axis=1))
    rounded = [tuple(round(float(v), 6) for v in np.atleast_1d(row)) for row in (mean, np.maximum(std, 1e-3))]
    return replace(geometry, mean=rounded[0], std=(1 / 255,) * len(rounded[1]) if centre_only else rounded[1])
