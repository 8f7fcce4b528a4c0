"""Zip and tar archives of photos, unpacked into the cache: whole or absent, nothing outside of it, nothing unending."""

import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from depthwise import files
from depthwise.data.audit import content_hash
from depthwise.errors import UserError
from depthwise.files import cache_folder

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
MAX_FILES, MAX_FILE_BYTES, MAX_BYTES = 2_000_000, 2**29, 2**36
MAX_RATIO = 200
"""Times its own size that an archive may unpack to (above 1 GiB): photos hardly shrink, bombs do."""
CHUNK = 2**20
Member = tuple[str, Callable[[], IO[bytes] | None] | None]
"""Name, and what opens the content; nothing for what is not a regular file."""


def is_archive(path: Path) -> bool:
    """True when the name's ending is of an archive."""
    return path.name.lower().endswith(ENDINGS)


def unpacked(path: Path) -> Path:
    """Return the folder with the archive's files, unpacked once per content; a single folder in it is gone into.

    Files beside that folder are no matter. Symbolic links, devices and pipes are passed over. Raises UserError when a
    name leads outside, when it unpacks to too much, and when it is broken or encrypted; nothing is left of it then.
    """
    target = cache_folder() / "archives" / content_hash(path)
    if not target.is_dir():
        _unpack_whole(path, target)
    inside = [place for place in target.iterdir() if place.is_dir() and not place.name.startswith((".", "__MACOSX"))]
    return inside[0] if len(inside) == 1 and _holds_folders(inside[0]) else target


def _holds_folders(folder: Path) -> bool:
    return any(entry.is_dir() for entry in folder.iterdir())


def _unpack_whole(path: Path, target: Path) -> None:
    """Make the folder `target`, whole or not at all, in a folder that no other process has."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".partial-", ignore_cleanup_errors=True) as room:
            making = Path(room) / "files"  # `room` itself is for this user only
            making.mkdir()
            _unpack(path, making)
            files.replace(making, target)
    except UserError:
        raise
    except (tarfile.TarError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not a whole archive: {error}; fetch it again") from error
    except Exception as error:  # of a damaged archive nearly anything comes
        if not target.is_dir():  # else another process was faster
            raise UserError(f"{path}: cannot be unpacked: {error}; fetch it again, or unpack it yourself") from error


def _unpack(path: Path, folder: Path) -> None:
    room = min(MAX_BYTES, max(2**30, MAX_RATIO * path.stat().st_size))
    with closing(_members(path)) as members:
        for number, (name, opened) in enumerate(members):
            if number >= MAX_FILES:
                raise UserError(f"{path}: more than {MAX_FILES:,} files; unpack it yourself")
            if opened is None or (content := opened()) is None:
                continue
            with content:
                place = folder / _safe(path, name)
                place.parent.mkdir(parents=True, exist_ok=True)
                with open(place, "wb") as file:
                    room -= _copy(content, file, min(room, MAX_FILE_BYTES), f"{path}: {name}")


def _safe(archive: Path, name: str) -> PurePosixPath:
    """Return the relative path of a member. Raises UserError when it leads outside."""
    place = PurePosixPath(name.replace("\\", "/"))
    is_drive = len(name) > 1 and name[1] == ":"
    if place.is_absolute() or ".." in place.parts or is_drive or "\0" in name or not place.parts:
        raise UserError(f"{archive}: the name {name!r} in it leads outside; do not trust this archive")
    return place


def _copy(source: IO[bytes], target: IO[bytes], room: int, name: str) -> int:
    """Copy; return the number of bytes. What is counted is what comes, not what the archive says."""
    total = 0
    while chunk := source.read(CHUNK):
        total += len(chunk)
        if total > room:
            raise UserError(
                f"{name} unpacks to too much (files up to {MAX_FILE_BYTES >> 20} MiB, {MAX_RATIO} times in all)"
            )
        target.write(chunk)
    return total


def _members(path: Path) -> Generator[Member, None, None]:
    if path.name.lower().endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                is_link = (info.external_attr >> 16) & 0o170000 == 0o120000
                yield info.filename, None if info.is_dir() or is_link else partial(archive.open, info)
        return
    with tarfile.open(path) as archive_:
        for member in archive_:
            yield member.name, partial(archive_.extractfile, member) if member.isreg() or member.islnk() else None
        _check_end(archive_)


def _check_end(archive: tarfile.TarFile) -> None:
    """Raise TarError when the archive goes on where its files seem to end, or ends before: a header is damaged.

    What fills up its last record is read, too: behind that compressed archives keep the sum of all bytes.
    """
    assert archive.fileobj is not None
    archive.fileobj.seek(archive.offset)
    if any(end := archive.fileobj.read(tarfile.BLOCKSIZE)) or not end:
        raise tarfile.TarError("it is cut off, or damaged in the middle")
    for _ in range(MAX_FILE_BYTES // CHUNK):
        if not archive.fileobj.read(CHUNK):
            break
