"""All pictures of a data set as one uint8 array: decoded once, then read at the speed of memory.

Small data sets lie in memory. Larger ones are a pack of the user's store, which the next run and the other processes of
this one map; without a store, a nameless file that vanishes with the process.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from depthwise.console import Quiet, shown
from depthwise.data.audit import Skipped, content_hash, parallel
from depthwise.data.augment_maps import identity, in_pixels
from depthwise.data.contents import contents_of
from depthwise.data.decode import Pixels, decode, decode_image
from depthwise.data.geometry import Geometry, apply_to_image
from depthwise.data.index import Record
from depthwise.data.order import Ids, name_copies, sample_id
from depthwise.data.pack import HASH_BYTES, picture_sum, value_counts
from depthwise.data.store import CannotStore, Store, Work
from depthwise.data.warp import warp
from depthwise.errors import UnusablePicture, UserError

T = TypeVar("T")

MIN_STORED = 16 * 2**20
"""Bytes from which on pictures are kept in the store: fewer are decoded in a second or two."""
MAX_IN_MEMORY = 2**30
"""Bytes above which, without a store, the array lies in a file without a name."""
DECODED = "1"
"""Version of decode and geometry: another one's pixels are not used."""


@dataclass(frozen=True)
class Dataset:
    """Pictures ready for the network, with their classes' numbers."""

    images: NDArray[np.uint8]  # (N, S, S, C)
    labels: NDArray[np.int64]  # (N,)
    ids: Ids  # (N,)
    records: tuple[Record, ...]
    image_size: int = 0
    """Side that the network takes, where `images` are stored larger so that random crops have more to show."""
    sums: NDArray[np.uint8] | None = None
    """`pack.picture_sum` of each picture, (N, 16), where that is known."""
    counts: NDArray[np.int64] | None = None
    """`pack.value_counts` of all pictures, (C, 256), where that is known."""
    views: tuple[NDArray[Any], ...] = ()
    """What later epochs show in place of `images`, in turn."""

    @property
    def side(self) -> int:
        """Side of what the network takes, px."""
        return self.image_size or self.images.shape[1]

    def in_epoch(self, epoch: int) -> "Dataset":
        """Return the data set of an epoch (0 is the first): `images`, then each of `views`, then `images` again."""
        turn = epoch % (1 + len(self.views))
        return replace(self, images=self.views[turn - 1]) if turn else self

    def shown(self, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        """Return these pictures unchanged, as the network takes them: uint8 (B, side, side, C)."""
        if self.side == self.images.shape[1]:
            return self.images[rows]
        return warp(self.images, rows, in_pixels(identity(len(rows)), self.images.shape[1], self.side), self.side)

    def picture_sums(self) -> NDArray[np.uint8]:
        """Return 16 bytes for each picture, (N, 16): equal where pixels are."""
        if self.sums is not None:
            return self.sums
        sums = b"".join(picture_sum(pixels) for pixels in self.images)
        return np.frombuffer(sums, np.uint8).reshape(len(self), HASH_BYTES)

    def value_counts(self) -> NDArray[np.int64]:
        """Return how often each value occurs in each channel, (C, 256)."""
        if self.counts is not None:
            return self.counts
        starts = range(0, len(self), 1024)
        zeros = np.zeros((self.images.shape[-1], 256), np.int64)
        return sum((value_counts(self.images[start : start + 1024]) for start in starts), zeros)

    def __len__(self) -> int:
        return len(self.labels)


def read_picture(path: Path, geometry: Geometry, *, is_draft: bool = False) -> Pixels | Skipped:
    """Return the picture as the network takes it, uint8 (S, S, C), or why it cannot be used.

    is_draft: let JPEG's decoder shrink what is much larger, which is quicker and not quite the same.
    """
    at_least = round(geometry.image_size / geometry.crop_share) if is_draft else None
    try:
        return apply_to_image(decode_image(path, geometry.channels, at_least), geometry)
    except UnusablePicture as error:
        return Skipped(path, error.reason, error.detail)


@dataclass(frozen=True)
class _Decoding:
    """How files become stored pixels."""

    geometry: Geometry
    is_draft: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.geometry.image_size, self.geometry.image_size, self.geometry.channels

    @property
    def kind(self) -> str:
        """Sixteen digits, equal where pixels are; mean and deviation come later and do not enter."""
        values = {name: v for name, v in self.geometry.to_json().items() if name not in ("mean", "std")}
        text = json.dumps([DECODED, self.is_draft, values], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def read(self, path: Path) -> Pixels | Skipped:
        return read_picture(path, self.geometry, is_draft=self.is_draft)


def _warn_of_changed(records: Sequence[Record], kept: Sequence[Record], console: Quiet) -> None:
    """Say how many pictures are not those that a manifest names."""
    stated = {record.place: record.hash for record in records if record.hash}
    changed = [record for record in kept if stated.get(record.place, record.hash) != record.hash]
    if changed:
        console.warn(f"{len(changed)} pictures have changed since their hash was noted, e.g. {shown(changed[0].place)}")


@contextmanager
def load(
    records: Sequence[Record],
    classes: Sequence[str],
    geometry: Geometry,
    *,
    folder: Path,
    workers: int,
    console: Quiet,
    store: Store | None = None,
    stored_size: int | None = None,
) -> Iterator[tuple[Dataset, list[Skipped]]]:
    """Yield the data set of `records`, and the pictures that could not be used and are not in it.

    From 16 MiB on it lies in `store`. Without one, or when that has no room, up to 1 GiB lies in memory; more lies in a
    file under `folder` that has no name and vanishes with the process. `stored_size`: side of the pictures where they
    are for cutting out at random, above the network's own; these may be JPEG drafts. Raises UserError when the disk
    cannot take it.
    """
    side = stored_size or geometry.image_size
    decoding = _Decoding(replace(geometry, image_size=side), is_draft=side > geometry.image_size)
    shape = decoding.shape
    if store and len(records) * int(np.prod(shape)) >= MIN_STORED:
        try:
            loaded = _from_store(store, records, classes, geometry.image_size, decoding, workers, console)
        except CannotStore as error:
            console.warn(f"Decoded pictures are kept for this run only: {error}")
        else:
            _warn_of_changed(records, loaded[0].records, console)
            yield loaded
            return
    with _room((len(records), *shape), folder) as images:
        kept: list[Record] = []
        skipped: list[Skipped] = []
        found = read_with(decoding.read, records, workers)
        for record, pixels in console.track(found, len(records), "Decoding pictures"):
            if isinstance(pixels, Skipped):
                skipped.append(pixels)
            else:
                images[len(kept)] = pixels
                kept.append(record)
        _warn_of_changed(records, kept, console)
        yield _dataset(images[: len(kept)], kept, classes, geometry.image_size), skipped


def _dataset(images: Pixels, records: Sequence[Record], classes: Sequence[str], image_size: int) -> Dataset:
    number = {name: index for index, name in enumerate(classes)}
    labels = np.array([number[record.label] for record in records], np.int64)
    ids = name_copies(np.array([sample_id(record.hash) for record in records], np.uint64))
    return Dataset(images, labels, ids, tuple(records), image_size)


def _from_store(
    store: Store,
    records: Sequence[Record],
    classes: Sequence[str],
    image_size: int,
    decoding: "_Decoding",
    workers: int,
    console: Quiet,
) -> tuple[Dataset, list[Skipped]]:
    """Return what `load` yields, mapped from the store. Raises CannotStore."""
    found = contents_of([record.path for record in records], workers, console)
    readable = [(record, content) for record, content in zip(records, found, strict=True) if content]

    def read_known(number: int) -> Pixels | Skipped:
        record, content = readable[number]
        pixels = decoding.read(record.path)
        if content_hash(record.path) != content:
            raise CannotStore(f"{record.path} has changed while pictures were read")
        return pixels

    contents = [content for _, content in readable]
    pack = store.fetch(Work(decoding.kind, contents, decoding.shape, read_known), workers, console)
    kept = [replace(r, hash=content) for r, content in readable if content not in pack.skipped]
    bad = [Skipped(r.path, *pack.skipped[content]) for r, content in readable if content in pack.skipped]
    bad += [_why_unreadable(record.path) for record, content in zip(records, found, strict=True) if not content]
    return replace(_dataset(pack.images, kept, classes, image_size), sums=pack.sums, counts=pack.counts), bad


def _why_unreadable(path: Path) -> Skipped:
    try:
        decode(path)
    except UnusablePicture as error:
        return Skipped(path, error.reason, error.detail)
    return Skipped(path, "unreadable", "the file could not be read at first")


def read_all(records: Sequence[Record], geometry: Geometry, workers: int) -> Iterator[tuple[Record, Pixels | Skipped]]:
    """Yield each record, its hash filled in, with its picture or the reason why there is none; in their order."""
    return read_with(partial(read_picture, geometry=geometry), records, workers)


def read_with(
    read: Callable[[Path], T | Skipped], records: Sequence[Record], workers: int
) -> Iterator[tuple[Record, T | Skipped]]:
    """Yield each record, its hash filled in, with what `read` makes of its file; in their order."""

    def read_one(record: Record) -> tuple[Record, T | Skipped]:
        found = read(record.path)
        if not isinstance(found, Skipped):
            record = replace(record, hash=content_hash(record.path))
        return record, found

    return parallel(read_one, records, workers)


@contextmanager
def _room(shape: tuple[int, ...], folder: Path) -> Iterator[NDArray[np.uint8]]:
    num_bytes = int(np.prod(shape, dtype=np.int64))
    if num_bytes <= MAX_IN_MEMORY:
        yield np.empty(shape, np.uint8)
        return
    with ExitStack() as stack:
        try:
            file = stack.enter_context(tempfile.TemporaryFile(dir=folder))
            if hasattr(os, "posix_fallocate"):  # else a full disk would show as a crash while writing to the map
                os.posix_fallocate(file.fileno(), 0, num_bytes)
            else:
                file.truncate(num_bytes)
        except OSError as error:
            raise UserError(
                f"no room for {num_bytes / 2**30:.1f} GiB of decoded pictures in {folder}: {error.strerror}"
            ) from error
        images = np.memmap(file, np.uint8, "r+", shape=shape)
        yield images
        del images
