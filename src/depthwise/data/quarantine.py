"""A list of pictures to leave out: audit writes it, split and train honour it, people edit it."""

import csv
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from depthwise import files
from depthwise.data.index import Record, relative
from depthwise.data.table import harmless, read_table
from depthwise.errors import UserError


def leave_out(records: Sequence[Record], quarantine: Path | None) -> tuple[list[Record], int]:
    """Return the records that are not on the list, and how many are. Raises UserError when the list cannot be read."""
    if quarantine is None:
        return list(records), 0
    listed = read_quarantine(quarantine)
    kept = [record for record in records if record.path not in listed]
    return kept, len(records) - len(kept)


def read_quarantine(path: Path) -> set[Path]:
    """Return the absolute paths on a list: a table with the column path, relative to the list's own folder."""
    rows = read_table(path, "path")
    if rows is None:
        raise UserError(f"{path}: not a list of pictures; its first line must name the column path (and may more)")
    folder = Path(os.path.abspath(path)).parent
    return {Path(os.path.normpath(folder / row["path"])) for _, row in rows}


def write_quarantine(path: Path, rows: Iterable[tuple[Path, str]]) -> None:
    """Write the list: path, reason."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("path", "reason"))
    for place, reason in rows:
        name = relative(place, path.parent)
        writer.writerow((name if harmless(name) == name else f"./{name}", reason))
    files.write_whole(path, buffer.getvalue().encode("utf-8", "surrogateescape"))
