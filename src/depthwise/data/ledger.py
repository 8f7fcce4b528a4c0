"""What was found out about pictures, kept by content: a second look takes seconds, wherever the files have gone.

An SQLite file in the user's cache folder, never in the folder of photos. Losing it costs time and nothing else.
"""

import json
import os
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import Any

from depthwise.data.decode import Traits
from depthwise.data.fingerprint import Fingerprint
from depthwise.files import cache_folder

VERSION = 2
"""Of what is measured and how; what another version found is not used."""
TABLES = """
CREATE TABLE IF NOT EXISTS files (path BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER, inode INTEGER, content TEXT)
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pictures (content TEXT PRIMARY KEY, found TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pairs (first TEXT, second TEXT, likeness REAL, PRIMARY KEY (first, second)) WITHOUT ROWID;
"""
SETTLED_NS = 2 * 10**9
"""A file changed so recently could change again without its time showing it; it is hashed anew next time."""
Found = Fingerprint | tuple[str, str]
"""What a picture is, or the reason and detail why it cannot be used."""


class Ledger:
    """The kept findings; in memory only where the cache folder cannot be written or the file is broken."""

    def __init__(self, folder: Path | None = None) -> None:
        self.lock = Lock()  # several threads look at pictures
        self.database = self._open(folder or cache_folder())

    def _open(self, folder: Path) -> sqlite3.Connection:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(folder / f"pictures-{VERSION}.sqlite", timeout=30, check_same_thread=False)
            try:
                database.execute("PRAGMA synchronous = OFF")  # a lost cache is no loss
                database.executescript(TABLES)
            except sqlite3.Error:
                database.close()
                raise
        except (OSError, sqlite3.Error):
            database = sqlite3.connect(":memory:", check_same_thread=False)
            database.executescript(TABLES)
        return database

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *exc: object) -> None:
        self.save()
        self.database.close()

    def save(self) -> None:
        """Make what was told so far outlast a crash. A full disk is no error: the cache stays as it was."""
        with self.lock:
            try:
                self.database.commit()
            except sqlite3.Error:
                self.database.rollback()

    def content_of(self, path: Path, stat: os.stat_result) -> str | None:
        """Return the content hash of the file as it was when it had this size, time and inode, if it is known."""
        query = "SELECT content FROM files WHERE path = ? AND size = ? AND mtime_ns = ? AND inode = ?"
        found: str | None = self._one(query, (os.fsencode(path), *_state(stat)))
        return found

    def found(self, content: str) -> Found | None:
        """Return what is known of the picture with this content hash."""
        text = self._one("SELECT found FROM pictures WHERE content = ?", (content,))
        if text is None:
            return None
        values = json.loads(text)
        if isinstance(values, list):
            return values[0], values[1]
        return Fingerprint(**{**values, "traits": Traits(*values["traits"])})

    def tell(self, path: Path, stat: os.stat_result, content: str, found: Found) -> None:
        """Keep what was found."""
        values = found if isinstance(found, tuple) else asdict(found)
        self.tell_content(path, stat, content)
        self._write("INSERT OR REPLACE INTO pictures VALUES (?, ?)", [(content, json.dumps(values))])

    def tell_content(self, path: Path, stat: os.stat_result, content: str) -> None:
        """Keep what the file holds while it has this size, time and inode."""
        if time.time_ns() - stat.st_mtime_ns > SETTLED_NS:
            row = (os.fsencode(path), *_state(stat), content)
            self._write("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", [row])

    def likeness(self, first: str, second: str) -> float | None:
        """Return what is known of two contents (the smaller hash first)."""
        found: float | None = self._one("SELECT likeness FROM pairs WHERE first = ? AND second = ?", (first, second))
        return found

    def tell_likeness(self, first: str, second: str, likeness: float) -> None:
        """Keep the likeness of two contents (the smaller hash first)."""
        self._write("INSERT OR REPLACE INTO pairs VALUES (?, ?, ?)", [(first, second, likeness)])

    def _one(self, query: str, values: tuple[Any, ...]) -> Any:
        try:
            with self.lock:
                row = self.database.execute(query, values).fetchone()
        except sqlite3.Error:
            return None
        return row[0] if row else None

    def _write(self, query: str, rows: Iterable[tuple[Any, ...]]) -> None:
        try:
            with self.lock:
                self.database.executemany(query, rows)
        except sqlite3.Error:  # full disk, locked by another: it is only a cache
            return


def _state(stat: os.stat_result) -> tuple[int, int, int]:
    inode = stat.st_ino & (2**63 - 1)  # SQLite's integers are signed, Windows' file numbers may be larger
    return stat.st_size, stat.st_mtime_ns, inode
