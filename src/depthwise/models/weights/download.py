"""Fetching a file once: into a cache, going on where an earlier try stopped, checked before it gets its name."""

import hashlib
import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request

from depthwise import files
from depthwise.console import Quiet
from depthwise.errors import UserError

CHUNK = 2**18
HUB_HEADER = "X-Linked-ETag"
"""In which the hub gives the SHA-256 of a large file, in the reply that points to where it lies."""


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
        told = _receive(url, part, console)
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ValueError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        raise UserError(
            f"cannot fetch {url}: {getattr(error, 'reason', None) or error}\n"
            f"What has come is kept; try again to go on. Without a network: fetch it elsewhere and save it as {target}"
        ) from error
    except OSError as error:
        raise UserError(f"cannot write {part}: {error.strerror}") from error
    digest = _check(part, wanted or told, url, remove=True)
    if not sha256_start:
        files.write_whole(record, digest.encode("ascii"))
    files.replace(part, target)
    return target


def _receive(url: str, part: Path, console: Quiet) -> str:
    """Append what is missing of `url` to `part`; return the SHA-256 that the hub tells, or ''."""
    had = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={had}-"} if had else {})
    watcher = _Watcher()
    try:
        reply = urllib.request.build_opener(watcher).open(request, timeout=30)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # it was whole already
            error.close()
            return watcher.sha256
        raise
    with reply, open(part, "ab" if reply.status == http.HTTPStatus.PARTIAL_CONTENT else "wb") as file:
        length = int(reply.headers.get("Content-Length") or 0)
        chunks: Iterator[bytes] = iter(lambda: reply.read(CHUNK), b"")
        got = 0
        for chunk in console.track(chunks, -(-length // CHUNK), f"Fetching {url.rsplit('/', 1)[-1]}"):
            file.write(chunk)
            got += len(chunk)
        watcher.note(reply.headers.get(HUB_HEADER))
    if got < length:
        raise http.client.IncompleteRead(b"", length - got)
    return watcher.sha256


class _Watcher(urllib.request.HTTPRedirectHandler):
    """Follows redirections, and keeps the hub's checksum when it passes by."""

    sha256 = ""

    def note(self, header: str | None) -> None:
        text = (header or "").strip('"')
        if re.fullmatch("[0-9a-f]{64}", text):
            self.sha256 = text

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        """Note the checksum on the way."""
        self.note(headers.get(HUB_HEADER))
        return super().redirect_request(req, fp, code, msg, headers, newurl)


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
