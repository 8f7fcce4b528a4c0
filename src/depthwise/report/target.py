"""Where pages and pictures may be written: asked before the work, not after it."""

import os
from collections.abc import Iterable
from pathlib import Path

from depthwise.errors import UserError
from depthwise.files import check_folder, check_place


def check_target(target: Path, flag: str, suffix: str, *, overwrite: bool) -> None:
    """Raise UserError when `target`, given by `flag`, cannot be written, or exists and is not to be replaced.

    Its name must end in `suffix`, and its folder be there.
    """
    if target.suffix != suffix:
        raise UserError(f"{flag} {target}: it is written as {suffix[1:].upper()}; choose a name that ends in {suffix}")
    check_place(target, flag)
    _check_free(target, flag, overwrite=overwrite)


def check_targets(folder: Path, names: Iterable[str], flag: str, *, overwrite: bool) -> None:
    """Raise UserError when `folder`, given by `flag`, cannot be made or has one of the files that are to be written."""
    there = folder
    while not os.path.lexists(there):
        there = there.parent
    check_folder(there, f"{flag} {folder}")
    for name in names:
        _check_free(folder / name, flag, overwrite=overwrite)


def _check_free(target: Path, flag: str, *, overwrite: bool) -> None:
    if os.path.lexists(target) and not overwrite:
        raise UserError(f"{target} exists; choose another {flag}, or replace it with --overwrite")
