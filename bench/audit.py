"""What `depthwise audit` and `split` find: planted faults, Fashion-MNIST's known copies, solar cells, a million names.

python bench/audit.py planted fashion-mnist elpv names      # or some of them; each writes bench/results/audit_NAME.json
"""

import os
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from plant import plant
from record import write

from depthwise.config import SplitConfig
from depthwise.console import Quiet
from depthwise.data.index import read_index
from depthwise.data.ledger import Ledger
from depthwise.data.sources import get
from depthwise.workflows.auditing import Audit, audit
from depthwise.workflows.splitting import deal


def timed(photos: Path, cache: Path) -> tuple[Audit, dict[str, float]]:
    """Audit twice: from nothing, and with what the first look has kept."""
    times = {}
    for name in ("first_s", "second_s"):
        started = time.monotonic()
        found = audit(photos, ledger=Ledger(cache))
        times[name] = round(time.monotonic() - started, 2)
    return found, times | {"peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}


def planted(folder: Path) -> dict[str, Any]:
    """1,000 pictures with 60 near duplicates, 20 conflicts and 30 broken files, from 3 seeds."""
    rows = []
    for seed in range(3):
        photos = folder / f"seed{seed}"
        truth = plant(photos, seed=seed)
        found, times = timed(photos, folder / f"cache{seed}")
        pairs = {frozenset(f.paths) for f in found.findings if len(f.paths) == 2}
        wanted = truth.near | truth.conflicts
        unusable = {f.paths[0] for f in found.findings if len(f.paths) == 1 and not f.is_notice}
        result = deal(
            read_index(photos), SplitConfig(), workers=None, console=Quiet(), ledger=Ledger(folder / f"cache{seed}")
        )
        side = {record.path: record.split for record in result.records}
        torn = sum(len({side[path] for path in pair}) > 1 for pair in wanted)
        rows.append(
            {
                "seed": seed,
                "pairs": len(wanted),
                "found": len(pairs & wanted),
                "false": len(pairs - wanted),
                "broken": len(truth.broken),
                "broken_found": len(truth.broken & unusable),
                "broken_false": len(unusable - truth.broken),
                "torn_by_split": torn,
                **times,
            }
        )
    return {"runs": rows}


def fashion_mnist(folder: Path) -> dict[str, Any]:
    """Copies within and between the official train and test pictures."""
    get("fashion-mnist", folder / "photos")
    found, times = timed(folder / "photos", folder / "cache")
    exact = Counter(f.kind for f in found.findings if f.detail.endswith("equal pixels"))
    near = Counter(f.kind for f in found.findings if "likeness" in f.detail)
    return {
        "num_images": found.num_images,
        "equal_pixels": dict(exact),
        "near": dict(near),
        "notes": list(found.notes),
        **times,
    }


def elpv(folder: Path) -> dict[str, Any]:
    """Photos of solar cells look alike by the hundred, and are different cells."""
    get("elpv", folder / "photos", Path(os.environ["ELPV"]) if "ELPV" in os.environ else None)
    found, times = timed(folder / "photos", folder / "cache")
    index = read_index(folder / "photos")
    result = deal(index, SplitConfig(), workers=None, console=Quiet(), ledger=Ledger(folder / "cache"))
    sizes = Counter(record.group for record in result.records if record.group)
    return {
        "num_images": found.num_images,
        "counts": found.counts,
        "groups": len(sizes),
        "largest_group": max(sizes.values(), default=0),
        "split_notes": [note.replace(str(folder), "") for note in result.notes],
        **times,
    }


def names(folder: Path) -> dict[str, Any]:
    """Index a million empty files in 100 classes, twice: the second time the disk is warm."""
    for label in range(100):
        (folder / "photos" / f"{label:02d}").mkdir(parents=True)
        for number in range(10_000):
            os.close(os.open(folder / "photos" / f"{label:02d}" / f"{number:05d}.jpg", os.O_CREAT))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(2):
        started = time.monotonic()
        num_names = len(read_index(folder / "photos").records)  # not kept: one index at a time
        took = time.monotonic() - started
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    return {"names": num_names, "index_s": round(took, 1), "memory_mib": grown}


WORK = {"planted": planted, "fashion-mnist": fashion_mnist, "elpv": elpv, "names": names}

if __name__ == "__main__":
    for chosen in sys.argv[1:] or WORK:
        with tempfile.TemporaryDirectory() as place:
            write(f"audit_{chosen.replace('-', '_')}", WORK[chosen](Path(place)))
