"""A list of pictures to leave out: audit writes it, split and train honour it, people edit it."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from depthwise import files
from depthwise.data.index import Record, naming, real_places
from depthwise.data.table import csv_line, read_table
from depthwise.errors import UserError


def leave_out(records: Sequence[Record], quarantine: Path | None) -> tuple[list[Record], int]:
    """Return the records that are not on the list, and how many are. Raises UserError when the list cannot be read."""
    if quarantine is None:
        return list(records), 0
    listed, places = read_quarantine(quarantine), real_places(record.place for record in records)
    kept = [record for record, place in zip(records, places, strict=True) if place not in listed]
    return kept, len(records) - len(kept)


def read_quarantine(path: Path) -> set[str]:
    """Return the places on a list: a table with the column path, relative to the list's own folder.

    As `real_places` gives them.
    """
    rows = read_table(path, "path")
    if rows is None:
        raise UserError(f"{path}: not a list of pictures; its first line must name the column path (and may more)")
    folder = os.path.realpath(path.parent)
    return set(real_places(os.path.normpath(os.path.join(folder, row["path"])) for _, row in rows))


def write_quarantine(path: Path, rows: Iterable[tuple[Path, str]]) -> None:
    """Write the list: path, reason."""
    name_of = naming(path.parent)
    lines = [csv_line(("path", "reason")), *(csv_line((name_of(place), reason)) for place, reason in rows)]
    files.write_whole(path, "".join(lines).encode("utf-8", "surrogateescape"))
