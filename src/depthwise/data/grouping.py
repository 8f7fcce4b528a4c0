"""Groups by a rule of the user's: parent, prefix:REGEX, exif-time:SECONDS, csv:COLUMN."""

import re
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from PIL import ExifTags, Image

from depthwise.data.decode import FORMATS
from depthwise.data.index import read_column
from depthwise.errors import UserError

RULES = "parent, prefix:REGEX, exif-time:SECONDS or csv:COLUMN"


def rule_groups(rule: str | None, paths: Sequence[Path], source: Path) -> list[list[int]]:
    """Return the groups of two and more pictures that `rule` makes of `paths`, by their places.

    parent: pictures in the same folder; prefix: those whose names start with the same text, as far as the expression
    matches; exif-time: those taken at most so many seconds after one another; csv: those with the same text in a column
    of `source`; None: there are none. What the rule says nothing of stands alone. Raises UserError for a rule that it
    cannot follow.
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
        return gather([match.group() if match else "" for match in matches])
    if kind == "exif-time" and value.replace(".", "", 1).isdigit():
        return _bursts([taken_at(path) for path in paths], float(value))
    if kind == "csv" and value:
        column = read_column(source, value)
        return gather([column.get(path, "") for path in paths])
    raise UserError(f"--group-by {rule}: needs {RULES}")


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
