"""`depthwise audit`: what is wrong with the photos, before anything is built on them; their folder stays as it is."""

import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from depthwise.config import default_workers
from depthwise.console import Quiet
from depthwise.data.audit import Skipped
from depthwise.data.examine import examine_all
from depthwise.data.findings import KINDS, Finding, of_classes, of_picture, of_twins, of_unusable, to_leave_out
from depthwise.data.index import Index, Record, real_places, scan
from depthwise.data.ledger import Ledger
from depthwise.data.quarantine import write_quarantine
from depthwise.data.twins import find_twins
from depthwise.errors import UserError


@dataclass(frozen=True)
class Audit:
    """What was found."""

    source: Path
    num_images: int
    """Files that were looked at, with those that cannot be used."""
    classes: dict[str, int]
    """Usable pictures by class."""
    findings: tuple[Finding, ...]
    """In the order of KINDS."""
    notes: tuple[str, ...]
    """What was not looked at, and how far was searched."""

    @property
    def is_clean(self) -> bool:
        """True when nothing needs to be done."""
        return all(finding.is_notice for finding in self.findings)

    @property
    def counts(self) -> dict[str, int]:
        """Findings by kind."""
        return dict(Counter(finding.kind for finding in self.findings))

    def to_json(self) -> dict[str, Any]:
        """Return plain values, as the command line prints them."""
        return {
            "source": os.fspath(self.source),
            "num_images": self.num_images,
            "is_clean": self.is_clean,
            "classes": self.classes,
            "counts": self.counts,
            "findings": [
                {
                    "kind": finding.kind,
                    "paths": [os.fspath(path) for path in finding.paths],
                    "classes": list(finding.labels),
                    "detail": finding.detail,
                    "is_notice": finding.is_notice,
                }
                for finding in self.findings
            ],
            "notes": list(self.notes),
        }


def audit(
    photos: str | Path,
    *,
    splits: str | Path | None = None,
    quarantine: str | Path | None = None,
    model: str | Path | None = None,
    factory: str | None = None,
    overwrite: bool = False,
    workers: int | None = None,
    console: Quiet | None = None,
    ledger: Ledger | None = None,
) -> Audit:
    """Return what is odd about the photos of a folder, archive or CSV.

    `splits` is a manifest that says who is in which split (default: what `photos` says). `quarantine` is a list to
    write of what to leave out. `model` is a run or model file that looks for wrong labels and outliers among pictures
    that it was not trained on. Raises UserError when there are no photos, or the list cannot be written: its folder is
    missing, or it is there and not to be replaced by `overwrite`.
    """
    console, workers = console or Quiet(), default_workers() if workers is None else workers
    _check_free(quarantine, overwrite=overwrite)
    index = _scan(Path(photos))
    with ledger or Ledger() as book:
        looks = examine_all([record.path for record in index.records], workers, console, book)
        pairs = [(r, look) for r, look in zip(index.records, looks, strict=True) if not isinstance(look, Skipped)]
        usable, prints = [record for record, _ in pairs], [look for _, look in pairs]
        search = find_twins(usable, prints, book, workers, console)
    sides = _sides(usable, [look.content for look in prints], splits)
    found = [
        *of_unusable(index.records, (look for look in looks if isinstance(look, Skipped))),
        *of_twins(usable, search.pairs, sides),
        *(finding for record, look in pairs for finding in of_picture(record, look)),
        *of_classes(usable, sides),
    ]
    if model is not None:
        from depthwise.workflows.suspects import suspects  # it brings torch

        known = [replace(record, hash=look.content) for record, look in pairs]
        found += suspects(model, known, workers=workers, console=console, factory=factory)
    rank = {kind: place for place, kind in enumerate(KINDS)}
    findings = tuple(sorted(found, key=lambda finding: rank[finding.kind]))
    if quarantine is not None:
        write_quarantine(Path(quarantine), to_leave_out(findings))
    counts = Counter(record.label for record in usable)
    return Audit(
        index.source, len(index.records), dict(sorted(counts.items())), findings, (*index.notes, *search.notes)
    )


def _check_free(quarantine: str | Path | None, *, overwrite: bool) -> None:
    if quarantine is None:
        return
    if os.path.lexists(quarantine) and not overwrite:
        raise UserError(f"{quarantine} exists; choose another --quarantine, or replace it with --overwrite")
    if not (folder := Path(quarantine).parent).is_dir():
        raise UserError(f"--quarantine {quarantine}: there is no folder {folder}; make it, or choose another place")


def _scan(photos: Path) -> Index:
    index = scan(photos)
    if not index.records:
        seen = "".join(f"\n  {note}" for note in index.notes)
        raise UserError(f"{index.source}: no pictures found; expected one folder per class, with pictures in it{seen}")
    return index


def _sides(records: list[Record], contents: list[str], splits: str | Path | None) -> list[str]:
    """Return the split of each picture: the manifest's word by place, else by content; '' where nothing is said."""
    if splits is None:
        return [record.split for record in records]
    manifest = _scan(Path(splits)).records
    sides = [record.split for record in manifest]
    by_place = dict(zip(real_places(record.place for record in manifest), sides, strict=True))
    by_hash = {record.hash: record.split for record in manifest if record.hash}
    places = real_places(record.place for record in records)
    return [by_place.get(place) or by_hash.get(content, "") for place, content in zip(places, contents, strict=True)]
