"""All pictures of a data set as one uint8 array: decoded once, then read at the speed of memory."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthwise.console import Quiet
from depthwise.data.audit import Skipped, content_hash, parallel
from depthwise.data.decode import Pixels, decode_image
from depthwise.data.geometry import Geometry, apply_to_image
from depthwise.data.index import Record
from depthwise.data.order import Ids, sample_id
from depthwise.errors import UnusablePicture, UserError

MAX_IN_MEMORY = 2**30
"""Bytes above which the array lies in a file without a name instead."""


@dataclass(frozen=True)
class Dataset:
    """Pictures ready for the network, with their classes' numbers."""

    images: NDArray[np.uint8]  # (N, S, S, C)
    labels: NDArray[np.int64]  # (N,)
    ids: Ids  # (N,)
    records: tuple[Record, ...]

    def __len__(self) -> int:
        return len(self.labels)


def read_picture(path: Path, geometry: Geometry) -> Pixels | Skipped:
    """Return the picture as the network takes it, uint8 (S, S, C), or why it cannot be used."""
    try:
        return apply_to_image(decode_image(path, geometry.channels), geometry)
    except UnusablePicture as error:
        return Skipped(path, error.reason, error.detail)


@contextmanager
def load(
    records: Sequence[Record], classes: Sequence[str], geometry: Geometry, *, folder: Path, workers: int, console: Quiet
) -> Iterator[tuple[Dataset, list[Skipped]]]:
    """Yield the data set of `records`, and the pictures that could not be used and are not in it.

    Up to 1 GiB lies in memory; more lies in a file under `folder` that has no name and vanishes with the process.
    Raises UserError when the disk cannot take it.
    """
    shape = (len(records), geometry.image_size, geometry.image_size, geometry.channels)
    with _room(shape, folder) as images:
        kept: list[Record] = []
        skipped: list[Skipped] = []
        found = read_all(records, geometry, workers)
        for record, pixels in console.track(found, len(records), "Decoding pictures"):
            if isinstance(pixels, Skipped):
                skipped.append(pixels)
            else:
                images[len(kept)] = pixels
                kept.append(record)
        number = {name: index for index, name in enumerate(classes)}
        labels = np.array([number[record.label] for record in kept], np.int64)
        ids = np.array([sample_id(record.hash) for record in kept], np.uint64)
        yield Dataset(images[: len(kept)], labels, ids, tuple(kept)), skipped


def read_all(records: Sequence[Record], geometry: Geometry, workers: int) -> Iterator[tuple[Record, Pixels | Skipped]]:
    """Yield each record, its hash filled in, with its picture or the reason why there is none; in their order."""

    def read(record: Record) -> tuple[Record, Pixels | Skipped]:
        pixels = read_picture(record.path, geometry)
        if not record.hash and not isinstance(pixels, Skipped):
            record = replace(record, hash=content_hash(record.path))
        return record, pixels

    return parallel(read, records, workers)


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
