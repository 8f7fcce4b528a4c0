"""`depthwise split --copy DIR` and `--link DIR`: the split as folders, for other tools."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from depthwise import files
from depthwise.console import Quiet
from depthwise.data.index import Record
from depthwise.errors import UserError


def check_free(folder: Path) -> None:
    """Raise UserError when `folder` is there and not empty: nothing is ever put among other files."""
    if os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"{folder} exists and is not empty; choose another folder")


def materialise(records: Sequence[Record], folder: Path, *, is_link: bool, console: Quiet) -> None:
    """Make `folder` with split/class/name of each record, whole or not at all; links are symbolic, to absolute paths.

    Names that meet in one class (from nested folders) get a number: a.jpg, a-2.jpg. Raises UserError when a class's
    name cannot be a folder's, the disk is full, or links are not allowed here.
    """
    check_free(folder)
    folder = Path(os.path.abspath(folder))
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    taken: set[str] = set()
    try:
        for record in console.track(records, len(records), "Linking" if is_link else "Copying"):
            target = partial / record.split / _folder_name(record.label) / record.path.name
            target = _free_name(target, taken)
            target.parent.mkdir(parents=True, exist_ok=True)
            if is_link:
                target.symlink_to(record.path)
            else:
                shutil.copy2(record.path, target)
        if folder.exists():
            folder.rmdir()
        files.replace(partial, folder)
    except OSError as error:
        hint = "; use --copy instead" if is_link else ""
        raise UserError(f"cannot make {folder}: {error.strerror or error}{hint}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _folder_name(label: str) -> str:
    if label in (".", "..") or "/" in label or "\\" in label or "\0" in label:
        raise UserError(f"the class {label!r} cannot be a folder's name; rename it in the CSV")
    return label


def _free_name(path: Path, taken: set[str]) -> Path:
    """Return the path, numbered when a file system that ignores case would take it for one in `taken`."""
    number, free = 1, path
    while os.path.normcase(free).lower() in taken:
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    taken.add(os.path.normcase(free).lower())
    return free
