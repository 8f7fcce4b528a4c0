"""What reading many files takes: threads, hashes, and a word for each file that was left out."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

from depthwise.console import shown
from depthwise.errors import UserError

A = TypeVar("A")
B = TypeVar("B")
MAX_UNUSABLE = 0.1


class Skipped(NamedTuple):
    """A file that was left out, and why."""

    path: Path
    reason: str  # one of decode.REASONS
    detail: str

    def __str__(self) -> str:
        return f"{shown(self.path)}: {self.detail}"


def content_hash(path: Path) -> str:
    """Return the first 32 hex digits of the SHA-256 of the file's bytes. Raises OSError."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


def parallel(function: Callable[[A], B], items: Iterable[A], workers: int) -> Iterator[B]:
    """Yield function(item) in order, computed by `workers` threads that run at most 4 items each ahead.

    Threads, because Pillow and NumPy let go of the interpreter while they work, and nothing has to be copied or forked.
    """
    remaining = iter(items)
    with ThreadPoolExecutor(max(1, workers)) as pool:
        pending: list[Future[B]] = [pool.submit(function, item) for item in islice(remaining, 4 * max(1, workers))]
        try:
            while pending:
                yield pending.pop(0).result()
                pending.extend(pool.submit(function, item) for item in islice(remaining, 1))
        finally:
            for future in pending:
                future.cancel()


def check_share(skipped: Sequence[Skipped], total: int) -> None:
    """Raise UserError when more than a tenth of the pictures cannot be used: something is wrong with the folder."""
    if len(skipped) > MAX_UNUSABLE * total:
        listing = "\n".join(f"  {item}" for item in skipped[:10])
        more = f"\n  and {len(skipped) - 10} more" if len(skipped) > 10 else ""
        raise UserError(
            f"{len(skipped)} of {total} pictures cannot be used, more than a tenth:\n{listing}{more}\n"
            "Mend or remove them, then run the command again."
        )
