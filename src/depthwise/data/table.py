"""Tables of text as people have them: CSV with commas or semicolons, TSV; UTF-8 with or without a mark, UTF-16."""

import codecs
import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path

from depthwise.errors import UserError

DELIMITERS = (",", ";", "\t")
Row = dict[str, str]
_FORMULA = re.compile(r"'*(?:[=@\t\r]|[+-].*[^\d.])", re.DOTALL)
_ESCAPED = re.compile(r"'+(?:[=@\t\r]|[+-].*[^\d.])", re.DOTALL)


def read_table(path: Path, column: str) -> list[tuple[int, Row]] | None:
    """Return (line number, row) of a table with a first line of names, `column` among them; names in lower case.

    The delimiter is the first of comma, semicolon and tab that gives that column. None when no delimiter does. A short
    row's missing cells are ''. Raises UserError when the file cannot be read as a table.
    """
    try:
        text = _decode(path.read_bytes())
        for delimiter in DELIMITERS:
            reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, restval="")
            names = [name.strip().lower() for name in reader.fieldnames or ()]
            if column in names:
                reader.fieldnames = names
                return [(reader.line_num, {k: v for k, v in row.items() if k is not None}) for row in reader]
    except (OSError, csv.Error, UnicodeError) as error:
        raise UserError(f"{path}: cannot be read as CSV: {error}") from error
    return None


def _decode(content: bytes) -> str:
    """Return the text. In UTF-8 any byte comes through (names of files need not be text)."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16")
    return content.decode("utf-8-sig", errors="surrogateescape")


def csv_line(cells: Iterable[str]) -> str:
    """Return a row of CSV with its line end; cells with commas, quotes or line ends of any kind stand in quotes."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\r\n").writerow(cells)  # the writer quotes the characters of its own line end
    return buffer.getvalue().removesuffix("\r\n") + "\n"


def harmless(cell: str) -> str:
    """Return the cell so that a spreadsheet shows and does not compute it: =cmd() becomes '=cmd(). See `original`."""
    return "'" + cell if _FORMULA.match(cell) else cell


def original(cell: str) -> str:
    """Return what `harmless` was given."""
    return cell[1:] if _ESCAPED.match(cell) else cell
