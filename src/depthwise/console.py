"""How long work tells people where it stands. The core calls `Quiet`; the command line passes its own."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def shown(name: object) -> str:
    """Return a file's or a class's name for people: what would move the cursor, colour or reorder text is escaped."""
    return "".join(c if c.isprintable() or c in _JOINERS else _escape(c) for c in str(name))


def shown_lines(text: object) -> str:
    """Return a text of one line or more as `shown`, but for the ends of its lines: names in it may hold anything."""
    return "\n".join(map(shown, str(text).split("\n")))


_JOINERS = "\u200c\u200d"
"""Of Persian, Indic and emoji spelling: not printable by Unicode's table, and harmless."""


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


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
