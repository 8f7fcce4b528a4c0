"""The console blocks of a page: commands behind `$`, what they print, and what of it must hold on every machine."""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*(\.\d+)?(e[-+]?\d+)?%?")
STATUS = "echo $?"


@dataclass
class Shown:
    """A command as a page shows it."""

    command: str
    status: int = 0
    """What the page says by `$ echo $?` behind it; else 0."""
    lines: list[str] = field(default_factory=list)
    """Printed lines; `...` stands for any number of others."""

    @property
    def arguments(self) -> list[str]:
        """What stands behind `depthwise`, without a comment."""
        return shlex.split(self.command, comments=True)[1:]


def shown_on(page: str) -> list[Shown]:
    """Return the commands of a page's indented blocks, in their order. A line that ends in a backslash goes on."""
    found: list[Shown] = []
    is_status = is_block = False
    for line in page.replace("\\\n", "").splitlines():
        is_block = (line.startswith("    ") and (is_block or line.startswith("    $ "))) or (is_block and not line)
        text = line.strip()
        if not is_block or not text:
            continue
        if text.startswith("$ ") and text != f"$ {STATUS}":
            found.append(Shown(text.removeprefix("$ ")))
        elif is_status:
            found[-1].status = int(text)
        elif text != f"$ {STATUS}":
            found[-1].lines.append(text)
        is_status = text == f"$ {STATUS}"
    return found


def commands_on(page: str) -> Iterator[str]:
    """Yield the command lines of depthwise in indented and in fenced blocks, with `$` or without, up to a pipe."""
    is_fenced = False
    for line in page.replace("\\\n", "").splitlines():
        is_fenced ^= line.startswith("```")
        command = line.strip().removeprefix("$ ").partition(" | ")[0]
        if (is_fenced or line.startswith("    ")) and command.startswith("depthwise "):
            yield command


def shape(line: str, names: Sequence[str]) -> str:
    """Return a printed line with `#` for numbers and `NAME` for classes, without what chance decides."""
    words = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    line = re.sub(rf"(?<![\w-])({words})(?![\w-])", "NAME", line)
    line = re.sub(r" \*$", "", NUMBER.sub("#", line))  # the star of a best epoch
    return " ".join(line.split())


def missing(shown: Sequence[str], printed: Sequence[str], names: Sequence[str]) -> str | None:
    """Return the first shown line that was not printed behind those before it, with what comes nearest; else None."""
    rest = [shape(line, names) for line in printed]
    for line in shown:
        if line == "...":
            continue
        wanted = shape(line, names)
        if wanted not in rest:
            nearest = get_close_matches(wanted, rest, n=1, cutoff=0)
            return f"not printed: {wanted}\nnearest:     {nearest[0] if nearest else 'nothing more was printed'}"
        rest = rest[rest.index(wanted) + 1 :]
    return None


def num_words_in_common(one: str, other: str) -> int:
    """Return how many words two lines begin with alike."""
    same = [a == b for a, b in zip(one.split(), other.split(), strict=False)]
    return [*same, False].index(False)


def brought_up_to_date(page: str, done: Sequence[tuple[Shown, Sequence[str]]], names: Sequence[str]) -> str:
    """Return a page whose commands, in their order, show what they printed now: line for line, gaps where they were.

    Of printed lines of one shape that is taken which begins most like the shown one: the same class, the same epoch.
    """
    lines, place = page.split("\n"), 0
    for shown, printed in done:
        rest = list(printed)
        place = lines.index(f"    $ {shown.command}", place) + 1
        for line in shown.lines:
            place = next(number for number in range(place, len(lines)) if lines[number].strip() == line)
            if line == "...":
                continue
            alike = [new for new in rest if shape(new, names) == shape(line, names)]
            if not alike:
                raise ValueError(f"$ {shown.command}\nnot printed: {line}")
            new = max(alike, key=lambda new: num_words_in_common(new, line))
            lines[place], rest = f"    {new}".rstrip(), rest[rest.index(new) + 1 :]
            place += 1
    return "\n".join(lines)
