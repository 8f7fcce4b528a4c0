"""The packs of decoded pictures, and of features, in the user's cache folder: made once, shared by all runs, bounded.

A pack's name says what is in it: how pictures were decoded, and which, by the content of their files. So it never goes
out of date; one that nobody asks for goes when room is needed. Readers take no lock: a pack is renamed into its place
when it is whole, and a removed one lives on in the processes that have it open.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from depthwise import files
from depthwise.console import Quiet
from depthwise.data.audit import Skipped, parallel
from depthwise.data.decode import PASSING, Pixels
from depthwise.data.pack import Pack, Writer, picture_sum, read_pack, value_counts
from depthwise.locks import locked

MOST_BYTES, MOST_SHARE = 20 * 2**30, 0.1
"""Room for packs unless told: 20 GiB, and at most a tenth of the disk's free space."""
CHUNK = 64
"""Pictures checked or read as one piece of work."""


class Words(NamedTuple):
    """How a pack's contents and their making are called in messages."""

    things: str
    making: str
    makes: str
    made: str


PICTURES = Words("pictures", "Decoding", "decodes", "decoded")


class Work(NamedTuple):
    """What a pack is made from."""

    kind: str
    """How pictures are decoded: equal where pixels are."""
    contents: Sequence[str]
    """Content hashes of the files, in the order of the pictures."""
    shape: tuple[int, ...]
    """Of one picture."""
    read: Callable[[int], Pixels | Skipped]
    """Decode the picture of this number."""
    words: Words = PICTURES

    @property
    def name(self) -> str:
        """The pack's file name."""
        return f"{self.kind}-{hashlib.sha256(''.join(self.contents).encode()).hexdigest()[:32]}.pack"

    @property
    def num_bytes(self) -> int:
        """Room for all pixels."""
        return len(self.contents) * int(np.prod(self.shape))


class CannotStore(Exception):
    """There is no room, or the folder cannot be used; the message says which."""


@dataclass(frozen=True)
class Store:
    """The folder of packs."""

    folder: Path
    max_bytes: int

    def fetch(self, work: Work, workers: int, console: Quiet) -> Pack:
        """Return the pack of `work`, checked, made where it is missing or damaged. Raises CannotStore.

        Without `workers` it is made in the calling thread.
        """
        path = self.folder / work.name
        try:
            (self.folder / "locks").mkdir(parents=True, exist_ok=True)
            if pack := self._open(work.words, path, workers, console):
                return pack
            waiting = f"Waiting for another process that {work.words.makes} {work.words.things}"
            with locked(self._lock(path), on_wait=lambda: console.say(waiting)):
                pack = self._open(work.words, path, workers, Quiet())  # another has made it meanwhile
                return pack or self._make(work, path, workers, console)
        except OSError as error:
            raise CannotStore(f"{self.folder}: {error.strerror or error}") from error

    def _lock(self, path: Path) -> Path:
        return self.folder / "locks" / path.stem[-1]  # sixteen files that stay: two packs may share one

    def _open(self, words: Words, path: Path, workers: int, console: Quiet) -> Pack | None:
        """Return the pack if it is there and every picture in it fits its sum."""
        try:
            pack = read_pack(path)
            os.utime(path)  # used now: others go first
        except FileNotFoundError:
            return None
        except ValueError as error:
            console.warn(f"{error}; its {words.things} are {words.made} again")
            return None
        starts = range(0, len(pack.images), CHUNK)
        checks = parallel(lambda start: _num_damaged(pack, start), starts, workers)
        if damaged := sum(console.track(checks, len(starts), f"Checking stored {words.things}")):
            console.warn(
                f"{path}: {damaged} of {len(pack.images)} stored {words.things} are damaged and are {words.made} again"
            )
            return None
        return pack

    def _make(self, work: Work, path: Path, workers: int, console: Quiet) -> Pack:
        known = self._known(work)
        self._make_room(work.num_bytes)
        temporary = path.with_suffix(".tmp")  # one name: what a killed process left is written over
        skipped: dict[str, tuple[str, str]] = {}
        added: set[str] = set()
        try:
            writer = Writer(temporary, len(work.contents), work.shape)
            with writer.file:
                numbers, make = range(len(work.contents)), partial(_picture, work, known)
                made = parallel(make, numbers, workers) if workers else map(make, numbers)
                tracked = console.track(made, len(numbers), f"{work.words.making} {work.words.things}")
                for content, found in zip(work.contents, tracked, strict=True):
                    if isinstance(found, Skipped):
                        skipped[content] = found.reason, found.detail
                    else:
                        writer.add(content, *found)
                        added.add(content)
                if added & skipped.keys():
                    raise CannotStore("a picture could be read, and a copy of it could not")
                writer.close(skipped)
            files.replace(temporary, path)  # not synced: sums tell what a power cut leaves behind
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        return read_pack(path)

    def _known(self, work: Work) -> dict[str, tuple[NDArray[np.uint8], bytes]]:
        """Return pixels and sum of pictures that other packs of this kind (or a damaged one of this name) have."""
        wanted = set(work.contents)
        known: dict[str, tuple[NDArray[np.uint8], bytes]] = {}
        for path in self.folder.glob(f"{work.kind}-*.pack"):
            with contextlib.suppress(OSError, ValueError):
                pack = read_pack(path)
                for row, content in enumerate(pack.contents):
                    if content in wanted:
                        known[content] = pack.images[row], pack.sums[row].tobytes()
        return known

    def _make_room(self, num_bytes: int) -> None:
        """Remove packs, the longest unused first, until `num_bytes` more fit. Raises CannotStore when they cannot."""
        if num_bytes > self.max_bytes:
            raise CannotStore(
                f"{num_bytes / 2**30:.1f} GiB are more than --cache-size allows ({self.max_bytes / 2**30:.1f} GiB)"
            )
        for path in self.folder.glob("*.tmp"):
            with locked(self._lock(path), is_patient=False) as is_free:  # else it is being written
                if is_free:
                    path.unlink(missing_ok=True)
        packs = sorted(_sizes(self.folder), key=lambda pack: pack[1])
        total = sum(size for _, _, size in packs)
        for path, _, size in packs:
            if total + num_bytes <= self.max_bytes:
                break
            with contextlib.suppress(OSError):  # Windows keeps what is in use
                path.unlink()
                total -= size


def open_store(cache_size: float | None = None) -> Store | None:
    """Return the user's store, bounded by `cache_size` GiB (None: by MOST_BYTES and MOST_SHARE; 0: no store)."""
    if cache_size == 0:
        return None
    folder = files.cache_folder() / "pictures"
    if cache_size is not None:
        return Store(folder, int(cache_size * 2**30))
    place = next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
    room = shutil.disk_usage(place).free + sum(size for _, _, size in _sizes(folder))
    return Store(folder, min(MOST_BYTES, int(MOST_SHARE * room)))


def _sizes(folder: Path) -> list[tuple[Path, float, int]]:
    """Return each pack with the time of its last use and its size."""
    found = []
    for path in folder.glob("*.pack"):
        with contextlib.suppress(OSError):  # another process has just removed it
            status = path.stat()
            found.append((path, status.st_mtime, status.st_size))
    return found


def _num_damaged(pack: Pack, start: int) -> int:
    rows = range(start, min(start + CHUNK, len(pack.images)))
    return sum(picture_sum(pack.images[row]) != pack.sums[row].tobytes() for row in rows)


def _picture(
    work: Work, known: dict[str, tuple[NDArray[np.uint8], bytes]], number: int
) -> tuple[Pixels, bytes, NDArray[np.int64]] | Skipped:
    """Return a picture with its sum and counts: from another pack if it is whole there, else decoded."""
    pixels, old_sum = known.get(work.contents[number], (None, b""))
    if pixels is None or picture_sum(pixels) != old_sum:
        found = work.read(number)
        if isinstance(found, Skipped):
            if found.reason in PASSING:  # a pack is for good
                raise CannotStore(str(found))
            return found
        pixels = found
    return pixels, picture_sum(pixels), value_counts(pixels)
