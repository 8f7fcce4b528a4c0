"""Where a picture may be written."""

from pathlib import Path

from depthwise.errors import UserError


def check_target(target: Path, flag: str, suffix: str, *, overwrite: bool) -> None:
    """Raise UserError when `target`, given by `flag`, does not end in `suffix` or exists and is not to be replaced."""
    if target.suffix != suffix:
        raise UserError(
            f"{flag} {target}: the picture is written as {suffix[1:].upper()}; choose a name that ends in {suffix}"
        )
    if target.exists() and not overwrite:
        raise UserError(f"{target} exists; choose another {flag}, or replace it with --overwrite")
