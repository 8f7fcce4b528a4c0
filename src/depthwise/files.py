"""Files that are whole or absent. All that a run writes with care goes through `Disk`'s few calls."""

import atexit
import contextlib
import hashlib
import json
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from depthwise.errors import CannotWrite, UserError


class Disk:
    """The calls by which files change. A test puts one in `DISK`'s place that records, fails or kills."""

    def create(self, path: Path) -> BinaryIO:
        """Open a new or emptied file for writing."""
        return open(path, "wb", buffering=0)

    def write(self, file: BinaryIO, data: bytes) -> None:
        """Write all of `data`; the system may still hold it in memory."""
        view = memoryview(data)
        while view:
            view = view[file.write(view) :]

    def sync(self, file: BinaryIO) -> None:
        """Wait until the device has what was written."""
        os.fsync(file.fileno())

    def rename(self, source: Path, target: Path) -> None:
        """Give a file another name, in place of what has it."""
        os.replace(source, target)

    def remove(self, path: Path) -> None:
        """Delete a file."""
        os.unlink(path)

    def sync_folder(self, folder: Path) -> None:
        """Make renames within `folder` durable, where the system can (Windows has no such call)."""
        if os.name == "nt":
            return
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


DISK = Disk()


def write_whole(path: Path, data: bytes, *, keep: Path | None = None, is_shared: bool = False) -> None:
    """Write `data` to `path` so that after any crash `path` holds the old bytes or the new ones.

    A temporary file beside it, fsync, rename, fsync of the folder. With `keep`, the old file gets that name first: a
    crash between the two renames leaves the old bytes there and nothing at `path`. `is_shared`: several may write it at
    a time, and the last one's bytes stay. Raises CannotWrite naming the file when the disk is full or the place cannot
    be written; the old file is then as it was, and no temporary file stays.
    """
    mark = f".{secrets.token_hex(4)}" if is_shared else ""  # else one name: what a killed process left is written over
    temporary = path.with_name(f".{path.name}{mark}.tmp")
    had_old = path.exists()
    try:
        with DISK.create(temporary) as file:
            DISK.write(file, data)
            DISK.sync(file)
        _swap(temporary, path, keep if had_old else None)
    except OSError as error:
        raise CannotWrite(
            f"cannot write {path}: {error.strerror} ({len(data):,} bytes); "
            f"{'the old file is unchanged' if had_old else 'nothing was written'}"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            DISK.remove(temporary)
    with contextlib.suppress(OSError):  # some network drives refuse; the file itself is safe
        DISK.sync_folder(path.parent)


def _swap(temporary: Path, path: Path, keep: Path | None) -> None:
    if keep is None:
        replace(temporary, path)
        return
    replace(path, keep)
    try:
        replace(temporary, path)
    except OSError:
        replace(keep, path)
        raise


def replace(source: Path, target: Path) -> None:
    """Rename, tried again for a second on PermissionError: virus scanners lock new files on Windows."""
    for pause_s in (0.05, 0.15, 0.3, 0.5, None):
        try:
            DISK.rename(source, target)
            return
        except PermissionError:
            if pause_s is None:
                raise
            time.sleep(pause_s)


def check_place(target: Path, flag: str) -> None:
    """Raise UserError when no file can be written where `flag` wants `target`; asked before the work, not after it."""
    if not target.parent.exists():
        raise UserError(f"{flag} {target}: there is no folder {target.parent}; make it, or choose another {flag}")
    check_folder(target.parent, f"{flag} {target}")
    if target.is_dir():
        raise UserError(f"{flag} {target} is a folder; choose another {flag}")


def check_folder(folder: Path, asked: str) -> None:
    """Raise UserError, beginning with `asked`, when no file can be made in `folder`."""
    if not folder.is_dir():
        raise UserError(f"{asked}: {folder} is no folder; choose another place")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{asked}: the folder {folder} cannot be written to; choose another place")


def cache_folder() -> Path:
    """Return the folder for what can be had again: DEPTHWISE_CACHE, else depthwise/ in the user's cache folder."""
    if chosen := os.environ.get("DEPTHWISE_CACHE"):
        return Path(chosen)
    if os.name == "nt":
        base = os.environ.get("LOCALAPPDATA") or _home("AppData/Local")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or _home(".cache")
    return Path(base) / "depthwise"


@cache
def _home(below: str) -> Path:
    """Return a folder in the user's home; without a home (a container's nameless user) one for this process only."""
    try:
        return Path.home() / below
    except RuntimeError:
        return Path(tempfile.mkdtemp(prefix="depthwise-cache-"))


def settle_numba_cache() -> None:
    """Let numba keep what it compiles where that can be written, before a function of ours is declared to it.

    It does so beside the code, or in the user's cache folder; where neither can be written (a container without a
    home), it gives up, and the kernels with it: there a temporary folder serves. A NUMBA_CACHE_DIR that is set stays.
    """
    if "NUMBA_CACHE_DIR" in os.environ or os.access(Path(__file__).parent, os.W_OK):
        return
    try:
        place = cache_folder() / "numba"
        place.mkdir(parents=True, exist_ok=True)
        is_ours = os.access(place, os.W_OK)
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        is_ours = False
    if not is_ours:
        place = Path(tempfile.mkdtemp(prefix="depthwise-numba-"))
        atexit.register(shutil.rmtree, place, ignore_errors=True)
    os.environ["NUMBA_CACHE_DIR"] = str(place)
    if "numba" in sys.modules:  # it has read its settings
        sys.modules["numba"].core.config.CACHE_DIR = str(place)


def read_kept(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file of the cache folder; an empty one where none can be read."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def keep(path: Path, more: Mapping[str, Any]) -> None:
    """Add `more` to the JSON object in a file of the cache folder, where other processes may do the same.

    Raises CannotWrite, which nobody needs to stop at: what is not kept is found out again.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = {**read_kept(path), **more}  # read now: another may have added something meanwhile
        write_whole(path, (json.dumps(whole, indent=1) + "\n").encode(), is_shared=True)
    except OSError as error:
        raise CannotWrite(f"cannot write {path}: {error.strerror} (DEPTHWISE_CACHE names another folder)") from error


def digest_of_code(folder: Path) -> str:
    """Return the SHA-256 over the names and texts of the Python files in a folder of this package."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        text = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()} {len(text)}\n".encode() + text)
    return digest.hexdigest()
