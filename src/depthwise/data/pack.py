"""One file of decoded pictures: pixels one after the other, to be mapped into memory, and a checked table at its end.

    pixels (N, S, S, C) | content hashes (N, 16) | sums (N, 16) | JSON | SHA-256 of the last three, their lengths, MAGIC

A file that was cut short has no end and is none; a damaged picture does not fit its sum.
"""

import hashlib
import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from depthwise.data.decode import Pixels

MAGIC = b"depthwise pack 1"
END = struct.Struct("<32sQQ16s")  # SHA-256, N, length of the JSON, MAGIC
HASH_BYTES = 16


class Pack(NamedTuple):
    """An open file."""

    images: NDArray[np.uint8]  # (N, S, S, C), a map that cannot be written to
    contents: tuple[str, ...]  # N content hashes
    sums: NDArray[np.uint8]  # (N, 16)
    counts: NDArray[np.int64]  # (C, 256): how often each value occurs, all pictures together
    skipped: dict[str, tuple[str, str]]  # content hash -> reason, detail: what cannot be used


def picture_sum(pixels: Pixels) -> bytes:
    """Return 16 bytes of the SHA-256 of a picture's pixels."""
    return hashlib.sha256(np.ascontiguousarray(pixels).data).digest()[:HASH_BYTES]


def value_counts(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return how often each value occurs in each channel of uint8 (..., C): (C, 256)."""
    channels = pixels.shape[-1]
    return np.stack([np.bincount(pixels[..., c].reshape(-1), minlength=256) for c in range(channels)])


class Writer:
    """Writes a pack under a name of its own; whoever makes it renames it when it is closed."""

    def __init__(self, path: Path, most: int, shape: tuple[int, ...]) -> None:
        """Take room for `most` pictures of `shape`. Raises OSError when there is none."""
        self.shape, self.contents, self.sums = shape, bytearray(), bytearray()
        self.counts = np.zeros((shape[-1], 256), np.int64)
        self.file = open(path, "wb")  # noqa: SIM115 - close() ends what starts here
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(self.file.fileno(), 0, max(1, most * int(np.prod(shape))))
        except OSError:
            self.file.close()
            raise

    def add(self, content: str, pixels: Pixels, found_sum: bytes, counts: NDArray[np.int64]) -> None:
        """Append a picture with its content hash, sum and counts. Raises OSError."""
        self.file.write(np.ascontiguousarray(pixels).data)
        self.contents += bytes.fromhex(content)
        self.sums += found_sum
        self.counts += counts

    def close(self, skipped: Mapping[str, tuple[str, str]]) -> None:
        """Write the table. Raises OSError."""
        rest = {"shape": self.shape, "counts": self.counts.tolist(), "skipped": skipped}
        text = json.dumps(rest).encode()
        table = bytes(self.contents) + bytes(self.sums) + text
        end = END.pack(hashlib.sha256(table).digest(), len(self.sums) // HASH_BYTES, len(text), MAGIC)
        with self.file:
            self.file.write(table + end)
            self.file.truncate()


def read_pack(path: Path) -> Pack:
    """Open a pack, its table checked, its pictures not. Raises OSError, and ValueError when it is not whole."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size < END.size:
            raise ValueError(f"{path}: too short")
        file.seek(size - END.size)
        digest, number, length, magic = END.unpack(file.read())
        table_bytes = 2 * HASH_BYTES * number + length
        if magic != MAGIC or table_bytes > size - END.size:
            raise ValueError(f"{path}: no end")
        start = file.seek(size - END.size - table_bytes)
        table = file.read(table_bytes)
    if hashlib.sha256(table).digest() != digest:
        raise ValueError(f"{path}: damaged table")
    rest: dict[str, Any] = json.loads(table[2 * HASH_BYTES * number :])
    shape = (number, *rest["shape"])
    if start != np.prod(shape, dtype=np.int64):
        raise ValueError(f"{path}: {start} bytes of pixels, not {shape}")
    images = np.memmap(path, np.uint8, "r", shape=shape) if number else np.empty(shape, np.uint8)
    hashes = [table[i : i + HASH_BYTES].hex() for i in range(0, HASH_BYTES * number, HASH_BYTES)]
    sums = np.frombuffer(table, np.uint8, HASH_BYTES * number, HASH_BYTES * number).reshape(number, HASH_BYTES)
    skipped = {content: (reason, detail) for content, (reason, detail) in rest["skipped"].items()}
    return Pack(images, tuple(hashes), sums, np.array(rest["counts"], np.int64), skipped)
