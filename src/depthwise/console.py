"""How long work tells people where it stands. The core calls `Quiet`; the command line passes its own."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


class Quiet:
    """Says nothing and shows no progress: the default of every Python function."""

    def say(self, text: str) -> None:
        """Tell one line of what was done or decided."""

    def warn(self, text: str) -> None:
        """Tell one line of what the user should look at."""

    def track(self, items: Iterable[T], total: int, label: str) -> Iterator[T]:
        """Yield `items`, showing how many of `total` are done."""
        del total, label
        yield from items
