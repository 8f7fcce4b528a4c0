"""Groups by a rule of the user's: parent, prefix:REGEX, exif-time:SECONDS, csv:COLUMN."""

import re
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import TypeVar

from PIL import ExifTags, Image

from depthwise.data.decode import FORMATS
from depthwise.data.index import read_column
from depthwise.errors import UserError

T = TypeVar("T")
RULES = "parent, prefix:REGEX, exif-time:SECONDS or csv:COLUMN"


def rule_groups(rule: str | None, paths: Sequence[Path], source: Path) -> list[list[int]]:
    """Return the groups of two and more pictures that `rule` makes of `paths`, by their places.

    parent: pictures in the same folder; prefix: those whose names start with the same text, as far as the expression
    matches; exif-time: those taken at most so many seconds after one another; csv: those with the same text in a column
    of `source`; None: there are none. What the rule says nothing of stands alone. Raises UserError for a rule that it
    cannot follow, or that says nothing of any picture.
    """
    if rule is None:
        return []
    kind, _, value = rule.partition(":")
    if kind == "parent" and not value:
        return gather([str(path.parent) for path in paths])
    if kind == "prefix" and value:
        try:
            pattern = re.compile(value)
        except re.error as error:
            raise UserError(f"--group-by {rule}: not a regular expression: {error}") from error
        matches = [pattern.match(path.name) for path in paths]
        return gather(_told(rule, [match.group() if match else "" for match in matches], "no file's name begins so"))
    if kind == "exif-time" and (gap_s := _seconds(value)) is not None:
        return _bursts(_told(rule, [taken_at(path) for path in paths], "no picture has the time in its EXIF"), gap_s)
    if kind == "csv" and value:
        column = read_column(source, value)
        return gather(_told(rule, [column.get(path, "") for path in paths], "the column is empty"))
    raise UserError(f"--group-by {rule}: needs {RULES}")


def _told(rule: str, words: list[T], reason: str) -> list[T]:
    """Return what a rule says of each picture. Raises UserError when it says nothing of any: it was not meant."""
    if words and all(word in ("", None) for word in words):
        raise UserError(f"--group-by {rule}: groups none of the {len(words)} pictures: {reason}")
    return words


def _seconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < inf else None


def taken_at(path: Path) -> float | None:
    """Return when a photo was taken by its EXIF block, in seconds; None where that says nothing."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            exif = Image.Image.getexif(image)
            details = exif.get_ifd(ExifTags.IFD.Exif)
            text = details.get(ExifTags.Base.DateTimeOriginal) or exif.get(ExifTags.Base.DateTime)
            return datetime.strptime(str(text), "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC).timestamp()
    except Exception:  # of a hostile EXIF block nearly anything comes; then there is no time
        return None


def _bursts(times: Sequence[float | None], gap_s: float) -> list[list[int]]:
    order = sorted((time, place) for place, time in enumerate(times) if time is not None)
    groups: list[list[int]] = []
    last = float("-inf")
    for time, place in order:
        if time - last > gap_s:
            groups.append([])
        groups[-1].append(place)
        last = time
    return [sorted(group) for group in groups if len(group) > 1]


def gather(names: Sequence[str]) -> list[list[int]]:
    """Return the places of equal names, by groups of two and more; '' is no name."""
    groups: dict[str, list[int]] = defaultdict(list)
    for place, name in enumerate(names):
        if name:
            groups[name].append(place)
    return [group for group in groups.values() if len(group) > 1]
