"""What lies in folders of photos: class folders, and the pictures at any depth in them, in a fixed order."""

import os
from pathlib import Path
from typing import NoReturn

from depthwise.data.decode import SUFFIXES
from depthwise.errors import UserError

SYSTEM_FOLDERS = ("__MACOSX", "__pycache__", "@eaDir", "lost+found", "System Volume Information", "$RECYCLE.BIN")
"""Nobody's classes; the last three lie on a disk's top and often cannot be read."""


def class_folders(root: Path) -> tuple[list[str], list[str], int]:
    """Return the names of folders in `root`, of hidden ones, and the number of pictures that lie beside them."""
    try:
        entries = sorted(os.scandir(root), key=lambda entry: entry.name)
    except OSError as error:
        _refuse_unreadable(error)
    folders = [entry.name for entry in entries if _is_folder(entry)]
    loose = sum(1 for entry in entries if entry.name not in folders and is_picture_name(entry.name))
    return [n for n in folders if not _is_hidden(n)], [n for n in folders if _is_hidden(n)], loose


def _refuse_unreadable(error: OSError) -> NoReturn:
    """Raise UserError: without the pictures in this folder the others would be taken for all."""
    raise UserError(
        f"{error.filename}: cannot be read: {error.strerror}; get the right to read this folder, or move it elsewhere"
    ) from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in SYSTEM_FOLDERS


def is_picture_name(name: str) -> bool:
    """True when the name's ending is of a picture and it is not hidden."""
    return os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith(".")


def find_pictures(folder: Path) -> tuple[list[str], int]:
    """Return the pictures at any depth in `folder`, sorted, and the number of other files (hidden ones not counted).

    Raises UserError naming a folder that cannot be read.
    """
    places: list[str] = []
    num_other = 0
    seen = {os.path.realpath(folder)}  # links to folders are followed, but to each folder once
    for place, folders, names in os.walk(folder, onerror=_refuse_unreadable, followlinks=True):
        folders[:] = sorted(name for name in folders if not _is_hidden(name) and _is_new(place, name, seen))
        for name in sorted(names):
            if is_picture_name(name):
                places.append(os.path.join(place, name))
            elif not name.startswith(".") and name not in ("Thumbs.db", "desktop.ini"):
                num_other += 1
    return places, num_other


def _is_new(place: str, name: str, seen: set[str]) -> bool:
    """Tell whether a folder was not come to before, and note it: links can lead round in circles."""
    real = os.path.realpath(os.path.join(place, name))
    is_new = real not in seen
    seen.add(real)
    return is_new
