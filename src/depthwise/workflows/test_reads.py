"""How often a run's test photos were looked at. Who chooses by them turns them into validation photos.

RUN/test_reads.jsonl has a line per reading. It outlives the run (`train --overwrite` leaves it), as the photos do.
"""

import contextlib
import hashlib
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

from depthwise.deploy.verify import fingerprint
from depthwise.workflows.answered import Measured
from depthwise.workflows.run_folder import RunFolder


class TestReads(NamedTuple):
    """Readings of the same test photos so far, this one among them."""

    num_reads: int
    num_models: int  # different model files among them
    path: Path


def record_read(model: Path, found: Measured) -> TestReads | None:
    """Note that `model` was judged on test photos; return how often it was on these.

    None, and nothing noted, for a model file that does not lie in the folder of its run, and where nothing can be
    written.
    """
    folder, records = RunFolder(model.parent), found.records
    if not found.used:
        return None
    photos = hashlib.sha256("".join(sorted(record.hash for record in records)).encode()).hexdigest()
    row = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S"),
        "model": model.name,
        "model_sha256": fingerprint(model.read_bytes()),
        "photos_sha256": photos,
        "num_images": len(records),
    }
    try:
        with open(folder.test_reads, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    except OSError:
        return None
    same = [known for known in _rows(folder.test_reads) if known.get("photos_sha256") == photos]
    return TestReads(len(same), len({known.get("model_sha256") for known in same}), folder.test_reads)


def _rows(path: Path) -> list[dict[str, Any]]:
    """Return the lines that are whole: one may have been cut off."""
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(ValueError):
            found = json.loads(line)
            rows += [found] if isinstance(found, dict) else []
    return rows
