"""One look at every file before anything is built on it."""

from collections.abc import Sequence
from pathlib import Path

from depthwise.console import Quiet
from depthwise.data.audit import Skipped, parallel
from depthwise.data.contents import content_of
from depthwise.data.decode import PASSING
from depthwise.data.fingerprint import Fingerprint, fingerprint
from depthwise.data.ledger import Found, Ledger
from depthwise.errors import UnusablePicture


def examine(path: Path, ledger: Ledger) -> Fingerprint | Skipped:
    """Decode and measure a picture, or say why it cannot be used; what `ledger` knows is not computed again."""
    content = content_of(path, ledger)
    found = ledger.found(content) if content else None
    if found is None:
        found = _look(path, content)
        if content and not (isinstance(found, tuple) and found[0] in PASSING):
            ledger.tell(content, found)
    return Skipped(path, *found) if isinstance(found, tuple) else found


def _look(path: Path, content: str) -> Found:
    try:
        return fingerprint(path, content)
    except UnusablePicture as error:
        return error.reason, error.detail


def examine_all(paths: Sequence[Path], workers: int, console: Quiet, ledger: Ledger) -> list[Fingerprint | Skipped]:
    """Return `examine` of each path, in order."""
    looks = parallel(lambda path: examine(path, ledger), paths, workers)
    results = list(console.track(looks, len(paths), "Looking at pictures"))
    ledger.save()
    return results
