"""Fetching a file once: into a cache, going on where an earlier try stopped, checked before it gets its name."""

import hashlib
from pathlib import Path

from depthwise import files
from depthwise.console import Quiet
from depthwise.download import receive
from depthwise.errors import CannotFetch, UserError


def fetch(url: str, name: str, sha256_start: str, console: Quiet) -> Path:
    """Return the cached file `name`, fetched from `url` if it is not there yet.

    Its SHA-256 must begin with `sha256_start`; where that is '', with what the hub's reply says; where that is nothing
    too, it is recorded beside the file at the first fetch and holds from then on. Raises UserError when there is no
    network (saying where to put the file by hand), or when what came is not what should.
    """
    target = files.cache_folder() / name
    record = target.with_name(f"{name}.sha256")
    wanted = sha256_start or (record.read_text(encoding="ascii").strip() if record.is_file() else "")
    if target.is_file():
        _check(target, wanted, url, remove=False)
        return target
    part = target.with_name(f"{name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        told = receive(url, part, console)
    except CannotFetch as error:
        raise UserError(
            f"{error}\nWhat has come is kept; try again to go on. Without a network: fetch it elsewhere and save it as "
            f"{target}"
        ) from error
    except OSError as error:
        raise UserError(f"cannot write {part}: {error.strerror}") from error
    digest = _check(part, wanted or told, url, remove=True)
    if not sha256_start:
        files.write_whole(record, digest.encode("ascii"))
    files.replace(part, target)
    return target


def _check(path: Path, wanted: str, url: str, *, remove: bool) -> str:
    """Return the file's SHA-256. Raises UserError when it does not begin with `wanted`."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest.startswith(wanted):
        return digest
    if remove:
        path.unlink()
    raise UserError(
        f"{path} is not what {url} should hold: its SHA-256 begins with {digest[: max(8, len(wanted))]}, not with "
        f"{wanted}. {'Try again' if remove else 'Remove the file'}; if it stays so, do not use it"
    )
