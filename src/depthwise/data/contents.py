"""What files hold, by their hashes; a file that has not changed since the ledger saw it is not read again."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from depthwise.console import Quiet
from depthwise.data.audit import content_hash, parallel
from depthwise.data.ledger import Ledger


def contents_of(paths: Sequence[Path], workers: int, console: Quiet) -> list[str]:
    """Return the content hash of each file, in order; '' of what is no regular file or cannot be read."""
    with Ledger() as ledger:

        def hash_of(path: Path) -> str:
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

        return list(console.track(parallel(hash_of, paths, workers), len(paths), "Reading pictures"))
