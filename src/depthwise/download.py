"""Receiving a file over HTTP, going on where an earlier try stopped."""

import http
import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request

from depthwise.console import Quiet
from depthwise.errors import CannotFetch

CHUNK = 2**18
HUB_HEADER = "X-Linked-ETag"
"""In which the hub gives the SHA-256 of a large file, in the reply that points to where it lies."""


def receive(url: str, part: Path, console: Quiet) -> str:
    """Append what is missing of `url` to `part`; return the SHA-256 that a model hub tells on the way, or ''.

    Raises CannotFetch, with the reason, when it does not come whole; what has come stays in `part`.
    """
    try:
        return _receive(url, part, console)
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ValueError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it is the reply, too
        raise CannotFetch(f"cannot fetch {url}: {getattr(error, 'reason', None) or error}") from error


def _receive(url: str, part: Path, console: Quiet) -> str:
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
