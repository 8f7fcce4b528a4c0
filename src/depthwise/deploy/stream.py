"""Groups of items worked on by threads, answered in order; also where items come slowly and for ever. No torch."""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from queue import Empty, Full, Queue
from typing import Generic, TypeVar

A = TypeVar("A")
B = TypeVar("B")

LINGER_S = 0.01
"""How long a group that is not full waits for one more item."""
PATIENCE_S = 0.1
"""How long a thread waits until it asks again whether it is still needed."""


def groups(items: Iterable[A], size: int) -> Iterator[list[A]]:
    """Yield the items in lists of `size`; the last may be shorter."""
    rest = iter(items)
    while group := list(islice(rest, size)):
        yield group


def live_groups(items: Iterable[A], size: int) -> Iterator[list[A]]:
    """Yield the items in lists of 1 to `size`: those that have come, without waiting until a list is full."""
    with _Poured(items, 4 * size) as arrived:
        while (first := arrived.next()) is not None:
            group = [first[0]]
            while len(group) < size and (item := arrived.next(LINGER_S)):
                group.append(item[0])
            yield group


def in_order(function: Callable[[A], B], items: Iterable[A], workers: int) -> Iterator[B]:
    """Yield function(item) in order, computed by `workers` threads that are at most 2 items each ahead.

    Each result comes as soon as it and those before it are there, also while `items` makes us wait for the next.
    """
    with ThreadPoolExecutor(workers) as pool:
        futures = (pool.submit(function, item) for item in items)
        with _Poured(futures, 2 * workers, lambda future: future.cancel()) as poured:
            while (found := poured.next()) is not None:
                yield found[0].result()


class _Poured(Generic[A]):
    """Items taken by a thread of its own, at most `limit` ahead; on leaving, those not taken are dropped.

    The thread may hang in an iterator that waits (a pipe): it is a daemon, so that it keeps no process alive.
    """

    def __init__(self, items: Iterable[A], limit: int, drop: Callable[[A], object] = lambda item: None) -> None:
        self.items, self.drop = items, drop
        self.queue: Queue[tuple[A] | BaseException | None] = Queue(limit)
        self.is_left = threading.Event()

    def __enter__(self) -> "_Poured[A]":
        threading.Thread(target=self._pour, daemon=True).start()
        return self

    def next(self, timeout_s: float | None = None) -> tuple[A] | None:
        """Return the next item in a tuple; None at the end, and when none has come in time. Raises what `items` did."""
        try:
            found = self.queue.get(timeout=timeout_s)
        except Empty:
            return None
        if isinstance(found, tuple):
            return found
        self.queue.put_nowait(found)  # the end stays the end
        if found is None:
            return None
        raise found

    def _pour(self) -> None:
        end: BaseException | None = None
        try:
            for item in self.items:
                if not self._put((item,)):
                    self.drop(item)
                    return
        except BaseException as error:
            end = error
        self._put(end)

    def _put(self, item: tuple[A] | BaseException | None) -> bool:
        """Put it when there is room; return False when nobody wants it any more."""
        while not self.is_left.is_set():
            with suppress(Full):
                self.queue.put(item, timeout=PATIENCE_S)
                return True
        return False

    def __exit__(self, *exc: object) -> None:
        self.is_left.set()
        with suppress(Empty):
            while True:
                found = self.queue.get_nowait()
                if isinstance(found, tuple):
                    self.drop(found[0])
