"""What was found out about pictures, kept by content: a second look takes seconds, wherever the files have gone.

An SQLite file in the user's cache folder, never in the folder of photos. Losing it costs time and nothing else. Several
processes share it: each writes what it found in short transactions, and holds no lock between them.
"""

import json
import os
import sqlite3
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import Any

from depthwise.data.decode import Traits
from depthwise.data.fingerprint import Fingerprint
from depthwise.files import cache_folder

VERSION = 4
"""Of what is measured and how; what another version found is not used."""
TABLES = """
CREATE TABLE IF NOT EXISTS files (path BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER, ctime_ns INTEGER,
    inode INTEGER, content TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pictures (content TEXT PRIMARY KEY, found TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pairs (first TEXT, second TEXT, likeness REAL, PRIMARY KEY (first, second)) WITHOUT ROWID;
"""
READ = {
    "files": "SELECT * FROM files WHERE path = ?",
    "pictures": "SELECT * FROM pictures WHERE content = ?",
    "pairs": "SELECT * FROM pairs WHERE first = ? AND second = ?",
}
WRITE = {
    "files": "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)",
    "pictures": "INSERT OR REPLACE INTO pictures VALUES (?, ?)",
    "pairs": "INSERT OR REPLACE INTO pairs VALUES (?, ?, ?)",
}
SAVE_EVERY = 1000
"""Rows that wait to be written."""
BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
TIMEOUT_S = 5.0
"""How long to wait for another process, which writes for a moment."""
SETTLED_NS = 2 * 10**9
"""A file changed so recently could change again without its time showing it; it is hashed anew next time."""
Found = Fingerprint | tuple[str, str]
"""What a picture is, or the reason and detail why it cannot be used."""
Row = tuple[Any, ...]


class Ledger:
    """The kept findings; in memory only where the cache folder cannot be written or the file is broken."""

    def __init__(self, folder: Path | None = None) -> None:
        self.lock = Lock()  # several threads look at pictures
        self.path = (folder or cache_folder()) / f"pictures-{VERSION}.sqlite"
        self.database = self._open() or self._open() or _in_memory()
        self.waiting = _none_waiting()
        self.num_told = 0

    def _open(self) -> sqlite3.Connection | None:
        """Return the file's connection; None where it cannot be used. A broken file is removed: it is only a cache."""
        with suppress(OSError, sqlite3.Error):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            for old in range(1, VERSION):
                (self.path.parent / f"pictures-{old}.sqlite").unlink(missing_ok=True)
            database = _connect(self.path)
            try:
                database.execute("PRAGMA synchronous = OFF")  # a lost cache is no loss
                database.executescript(TABLES)
                return database
            except sqlite3.Error as error:
                database.close()
                self._remove_broken(error)
        return None

    def _remove_broken(self, error: sqlite3.Error) -> None:
        if isinstance(error, sqlite3.DatabaseError) and error.sqlite_errorcode in BROKEN:
            with suppress(OSError):
                self.path.unlink()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *exc: object) -> None:
        self.save()
        self.database.close()

    def save(self) -> None:
        """Make what was told so far outlast a crash. What cannot be written now is kept for the next time.

        That is no error (a full disk, another process that holds the file): it is only a cache.
        """
        with self.lock, suppress(sqlite3.Error):
            if not any(self.waiting.values()):
                return
            try:
                self.database.execute("BEGIN IMMEDIATE")
                for table, rows in self.waiting.items():
                    self.database.executemany(WRITE[table], rows.values())
                self.database.execute("COMMIT")
                self.waiting = _none_waiting()
            except sqlite3.Error as error:
                self._remove_broken(error)  # for the next process
                raise
            finally:
                self.database.rollback()  # nothing, after a COMMIT

    def content_of(self, path: Path, stat: os.stat_result) -> str | None:
        """Return the content hash of the file as it was at this size, these times and this inode, if it is known."""
        row = self._read("files", os.fsencode(path))
        return str(row[-1]) if row and row[1:5] == _state(stat) else None

    def found(self, content: str) -> Found | None:
        """Return what is known of the picture with this content hash."""
        row = self._read("pictures", content)
        if row is None:
            return None
        values = json.loads(row[-1])
        if isinstance(values, list):
            return values[0], values[1]
        return Fingerprint(**{**values, "traits": Traits(*values["traits"])})

    def tell(self, content: str, found: Found) -> None:
        """Keep what the picture with this content hash is."""
        values = found if isinstance(found, tuple) else asdict(found)
        self._tell("pictures", (content,), json.dumps(values))

    def tell_content(self, path: Path, stat: os.stat_result, content: str) -> None:
        """Keep what the file holds while it has this size, these times and this inode."""
        if time.time_ns() - stat.st_mtime_ns > SETTLED_NS:
            self._tell("files", (os.fsencode(path),), *_state(stat), content)

    def likeness(self, first: str, second: str) -> float | None:
        """Return what is known of two contents (the smaller hash first)."""
        row = self._read("pairs", first, second)
        return float(row[-1]) if row else None

    def tell_likeness(self, first: str, second: str, likeness: float) -> None:
        """Keep the likeness of two contents (the smaller hash first)."""
        self._tell("pairs", (first, second), likeness)

    def _read(self, table: str, *key: Any) -> Row | None:
        with self.lock:
            if told := self.waiting[table].get(key):
                return told
            try:
                row: Row | None = self.database.execute(READ[table], key).fetchone()
            except sqlite3.Error:
                return None
        return row

    def _tell(self, table: str, key: Row, *values: Any) -> None:
        with self.lock:
            self.waiting[table][key] = (*key, *values)
            self.num_told += 1
            is_time = self.num_told % SAVE_EVERY == 0
        if is_time:
            self.save()


def _in_memory() -> sqlite3.Connection:
    database = _connect(":memory:")
    database.executescript(TABLES)
    return database


def _none_waiting() -> dict[str, dict[Row, Row]]:
    """Return room for what is told and not yet written: by table, rows by their keys."""
    return {table: {} for table in WRITE}


def _connect(place: Path | str) -> sqlite3.Connection:
    """Return a connection that begins no transaction by itself: one left open would keep other processes waiting."""
    return sqlite3.connect(place, timeout=TIMEOUT_S, isolation_level=None, check_same_thread=False)


def _state(stat: os.stat_result) -> tuple[int, int, int, int]:
    inode = stat.st_ino & (2**63 - 1)  # SQLite's integers are signed, Windows' file numbers may be larger
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, inode
