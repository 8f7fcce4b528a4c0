"""`depthwise split`: look at every picture, deal them out, write the manifest."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from depthwise.config import SplitConfig, default_workers
from depthwise.console import Quiet
from depthwise.data.audit import Skipped, check_share, examine_all
from depthwise.data.index import Index, Record, mark_groups, read_index, write_manifest
from depthwise.data.split import SPLITS, stratified_split
from depthwise.errors import UserError


@dataclass(frozen=True)
class SplitResult:
    """What a split did."""

    records: tuple[Record, ...]
    """Every usable picture with its split."""
    skipped: tuple[Skipped, ...]
    """Every picture that was left out, and why."""
    notes: tuple[str, ...] = ()
    """What else people should know."""
    path: Path | None = None
    """The manifest, where one was written."""

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Pictures by class and split: {class: {split: count}}."""
        found = Counter((record.label, record.split) for record in self.records)
        return {name: {split: found[name, split] for split in SPLITS} for name in sorted({n for n, _ in found})}


def split(
    photos: str | Path,
    out: str | Path = "splits.csv",
    config: SplitConfig | None = None,
    *,
    overwrite: bool = False,
    workers: int | None = None,
    console: Quiet | None = None,
) -> SplitResult:
    """Deal the pictures of a folder out to train, valid and test, and write the manifest `out`.

    By class and seeded; files of equal content stay on one side. Pictures that cannot be used are left out and
    returned. Raises UserError when there is nothing to split, a class is too small, `out` exists and `overwrite` is
    false, or more than a tenth of the pictures cannot be used.
    """
    config, out, console = config or SplitConfig(), Path(out), console or Quiet()
    if out.exists() and not overwrite:
        raise UserError(f"{out} exists; choose another --out, or replace it with --overwrite")
    index = read_index(Path(photos))
    if index.is_split:
        raise UserError(f"{photos} is split already; give it to `depthwise train` as it is")
    result = deal(index, config, workers=workers, console=console)
    write_manifest(out, result.records)
    return replace(result, path=out)


def deal(index: Index, config: SplitConfig, *, workers: int | None, console: Quiet) -> SplitResult:
    """Look at every picture of an index without splits and give each usable one its split; write nothing."""
    for note in index.notes:
        console.warn(note)
    usable, skipped = look_at(index.records, default_workers() if workers is None else workers, console)
    check_same_classes(index.classes, usable, str(index.source))
    splits = stratified_split(
        [r.hash for r in usable], [r.label for r in usable], valid=config.valid, test=config.test, seed=config.seed
    )
    records = mark_groups([replace(record, split=split) for record, split in zip(usable, splits, strict=True)])
    return SplitResult(records, tuple(skipped), _notes(index, records))


def look_at(records: Sequence[Record], workers: int, console: Quiet) -> tuple[list[Record], list[Skipped]]:
    """Return the records that decode, with content hashes, and the others. Raises UserError above a tenth of those."""
    found = examine_all([record.path for record in records], workers, console)
    usable = [replace(r, hash=f) for r, f in zip(records, found, strict=True) if not isinstance(f, Skipped)]
    skipped = [f for f in found if isinstance(f, Skipped)]
    check_share(skipped, len(records))
    return usable, skipped


def check_same_classes(classes: Sequence[str], usable: Sequence[Record], source: str) -> None:
    """Raise UserError naming the classes that lost all their pictures."""
    lost = sorted(set(classes) - {record.label for record in usable})
    if lost:
        raise UserError(f"{source}: no picture can be used in the class {', '.join(map(repr, lost))}")


def _notes(index: Index, records: Sequence[Record]) -> tuple[str, ...]:
    notes = list(index.notes)
    copies = len(records) - len({record.hash for record in records})
    if copies:
        notes.append(f"{copies} pictures are exact copies of others; copies are kept in one split")
    labels: dict[str, set[str]] = {}
    for record in records:
        labels.setdefault(record.hash, set()).add(record.label)
    conflicts = [r for r in records if len(labels[r.hash]) > 1]
    if conflicts:
        example = ", ".join(os.fspath(r.path) for r in conflicts if r.hash == conflicts[0].hash)
        notes.append(f"{len(conflicts)} pictures stand in several classes, e.g. {example}; decide which is right")
    return tuple(notes)
