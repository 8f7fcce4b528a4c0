"""A file of answers that grows row by row: whenever it is stopped it holds whole rows, and it can be gone on with."""

import csv
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal

from depthwise import __version__, files
from depthwise.data.table import original
from depthwise.errors import CannotWrite, UserError

Growing = Literal["csv", "jsonl"]
"""The forms whose rows stand for themselves."""


def maker(model: Path, form: Growing, **options: Any) -> dict[str, Any]:
    """Return what decides the answers: by it a file is gone on with or not. Raises UserError where the model is not."""
    try:
        with open(model, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{model}: cannot be read: {error.strerror}") from error
    return {"model_sha256": digest, "format": form, "folder": os.getcwd(), **options}


class AnswerFile:
    """A context manager that adds rows to a file. Beside it, NAME.made_by.json says by what it was made.

    `kept`: the photos whose answers were there already. A photo that changed since is not noticed.
    """

    def __init__(self, path: Path, made_by: dict[str, Any], header: str, *, is_resumed: bool) -> None:
        """Raises UserError where `is_resumed` and the file that is there was made otherwise, or cannot be read."""
        self.path, self.made_by, self.header = path, made_by, header.encode()
        self.beside = path.with_name(f"{path.name}.made_by.json")
        self.kept: set[str] = set()
        self.num_kept_failed = 0
        self.end = 0
        if is_resumed and path.exists():
            self._check_same()
            self._read()

    def __enter__(self) -> "AnswerFile":
        """Open the file behind its last whole row: a row that was cut off goes."""
        self._describe(is_complete=False)
        try:
            self.file: BinaryIO = open(self.path, "r+b", buffering=0) if self.end else files.DISK.create(self.path)
            self.file.truncate(self.end)
            self.file.seek(self.end)
        except OSError as error:
            raise CannotWrite(f"cannot write {self.path}: {error.strerror}") from error
        if not self.end:
            self.write(self.header)
        return self

    def write(self, row: bytes) -> None:
        """Add whole rows, at once with the system. Raises CannotWrite; the rows before are kept."""
        try:
            files.DISK.write(self.file, row)
        except OSError as error:
            raise CannotWrite(
                f"cannot write {self.path}: {error.strerror}. Its whole rows are kept; when there is room, go on with "
                "the same command and --resume"
            ) from error
        self.end += len(row)

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        with self.file:
            self.file.truncate(self.end)  # a row whose writing was stopped
            files.DISK.sync(self.file)
        if kind is None:
            self._describe(is_complete=True)

    def _describe(self, *, is_complete: bool) -> None:
        told = {"is_complete": is_complete, "depthwise": __version__, **self.made_by}
        files.write_whole(self.beside, (json.dumps(told, indent=1, ensure_ascii=False) + "\n").encode(*ANY_NAME))

    def _check_same(self) -> None:
        try:
            old = json.loads(self.beside.read_bytes().decode(*ANY_NAME))
        except (OSError, ValueError) as error:
            raise UserError(
                f"--resume: {self.path} cannot be gone on with, as {self.beside.name} is not beside it to say by what "
                "it was made; choose another --out, or replace it with --overwrite"
            ) from error
        changed = [name for name, value in self.made_by.items() if old.get(name) != value]
        if changed:
            listing = "".join(f"\n  {name}: {old.get(name)} then, {self.made_by[name]} now" for name in changed)
            raise UserError(
                f"--resume: {self.path} was made otherwise:{listing}\n"
                "Choose another --out, or replace it with --overwrite"
            )

    def _read(self) -> None:
        """Take in the rows that are there."""
        for number, row in enumerate(_whole_rows(self.path, self.made_by["format"])):
            if number or not self.header:
                photo, is_failed = self._parse(row, number + 1)
                self.kept.add(photo)
                self.num_kept_failed += is_failed
            elif row.rstrip(b"\r\n") != self.header.rstrip():
                raise UserError(
                    f"--resume: {self.path} has other columns than are written now:\n"
                    f"  there: {row.decode(*ANY_NAME).rstrip()}\n  now:   {self.header.decode().rstrip()}\n"
                    "Choose another --out, or replace it with --overwrite"
                )
            self.end += len(row)

    def _parse(self, row: bytes, number: int) -> tuple[str, bool]:
        """Return a row's photo, and whether it could not be used."""
        text = row.decode(*ANY_NAME)
        try:
            if not self.header:
                values = json.loads(text)
                return str(values["path"]), values["error"] is not None
            names, (cells,) = self.header.decode().strip().split(","), csv.reader([text], strict=True)
            found = dict(zip(names, cells, strict=True))
            return original(found["path"]), bool(found["error"])
        except (ValueError, KeyError, TypeError, csv.Error) as error:
            raise UserError(
                f"--resume: row {number} of {self.path} is none of depthwise predict; replace it with --overwrite"
            ) from error


ANY_NAME = ("utf-8", "surrogateescape")
"""Names of files need not be text."""


def _whole_rows(path: Path, form: Growing) -> Iterator[bytes]:
    """Yield the rows that were written to their end. A cell in quotes may have line ends of its own."""
    row = b""
    with open(path, "rb") as file:
        for line in file:
            row += line
            if line.endswith(b"\n") and (form == "jsonl" or row.count(b'"') % 2 == 0):
                yield row
                row = b""
