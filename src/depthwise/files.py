"""Files that are whole or absent."""

import contextlib
import os
import time
from pathlib import Path

from depthwise.errors import UserError


def write_whole(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that after any crash `path` holds the old bytes or the new ones.

    A temporary file beside it, fsync, rename, fsync of the folder. Raises UserError naming the file when the disk is
    full or the place cannot be written; the old file is then as it was, and no temporary file stays.
    """
    temporary = path.with_name(f".{path.name}.tmp")  # one name: what a killed process left is written over
    had_old = path.exists()
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        replace(temporary, path)
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror} ({len(data):,} bytes); "
            f"{'the old file is unchanged' if had_old else 'nothing was written'}"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
    with contextlib.suppress(OSError):  # some network drives refuse; the file itself is safe
        fsync_folder(path.parent)


def replace(source: Path, target: Path) -> None:
    """os.replace, tried again for a second on PermissionError: virus scanners lock new files on Windows."""
    for pause_s in (0.05, 0.15, 0.3, 0.5, None):
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if pause_s is None:
                raise
            time.sleep(pause_s)


def fsync_folder(folder: Path) -> None:
    """Make renames within `folder` durable, where the system can (Windows has no such call)."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
