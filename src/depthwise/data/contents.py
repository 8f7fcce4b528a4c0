"""What files hold, by their hashes; a file that has not changed since the ledger saw it is not read again."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from depthwise.console import Quiet
from depthwise.data.audit import content_hash, parallel
from depthwise.data.ledger import Ledger


def content_of(path: Path, ledger: Ledger) -> str:
    """Return the file's content hash, as `ledger` knows it or read now; '' of what cannot be read or is no file."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # reading from a pipe could block for ever
            return ""
        if known := ledger.content_of(path, status):
            return known
        content = content_hash(path)
    except (OSError, ValueError):
        return ""
    ledger.tell_content(path, status, content)
    return content


def contents_of(paths: Sequence[Path], workers: int, console: Quiet) -> list[str]:
    """Return `content_of` of each file, in order."""
    with Ledger() as ledger:
        found = parallel(lambda path: content_of(path, ledger), paths, workers)
        return list(console.track(found, len(paths), "Reading pictures"))
