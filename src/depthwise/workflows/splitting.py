"""`depthwise split`: look at every picture, keep together what belongs together, deal out, write the manifest."""

import os
from collections import Counter
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from depthwise.config import SplitConfig, default_workers
from depthwise.console import Quiet
from depthwise.data.audit import Skipped, check_share
from depthwise.data.examine import examine_all
from depthwise.data.fingerprint import Fingerprint
from depthwise.data.grouping import gather, rule_groups
from depthwise.data.groups import Pair, group_up, grow
from depthwise.data.index import Index, Record, known_before, read_index, write_manifest
from depthwise.data.ledger import Ledger
from depthwise.data.quarantine import leave_out
from depthwise.data.split import SPLITS, fold_of, stratified_split
from depthwise.data.twins import Search, equal_pixels, find_twins
from depthwise.errors import UserError

FAR = 0.2
"""A split that misses its share by more than this share of it is told."""
RULE_FORGOTTEN = (
    "the old manifest has groups that are not of look-alikes: new pictures join them only where --group-by gives the "
    "rule again"
)


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
    """The manifest, where one was written; of several folds the first."""

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Pictures by class and split: {class: {split: count}}."""
        found = Counter((record.label, record.split) for record in self.records)
        return {name: {split: found[name, split] for split in SPLITS} for name in sorted({n for n, _ in found})}


@dataclass(frozen=True)
class Looked:
    """Usable pictures, what they are like, and which are of the same shot."""

    records: list[Record]
    prints: list[Fingerprint]
    search: Search
    skipped: list[Skipped]


def split(
    photos: str | Path,
    out: str | Path = "splits.csv",
    config: SplitConfig | None = None,
    *,
    previous: str | Path | None = None,
    overwrite: bool = False,
    workers: int | None = None,
    console: Quiet | None = None,
) -> SplitResult:
    """Deal the pictures of a folder, archive or CSV out to train, valid and test, and write the manifest `out`.

    By class and seeded; copies, near duplicates and groups stay on one side. A picture that the manifest `previous`
    names (default: `out`, where it exists and `overwrite` is false) keeps its split and its group. Pictures that cannot
    be used are left out and returned. Raises UserError when there is nothing to split, a class is too small, more than
    a tenth of the pictures cannot be used, or a file is in the way.
    """
    config, out, console = config or SplitConfig(), Path(out), console or Quiet()
    if previous is None and out.exists() and not overwrite:
        previous = out
    if previous is not None and config.folds:
        raise UserError(f"--folds deals anew, so it does not go with {previous}; choose another --out, or --overwrite")
    paths = _fold_paths(out, config.folds)
    if taken := [path for path in paths if path.exists() and not overwrite]:
        raise UserError(f"{taken[0]} exists; choose another --out, or replace it with --overwrite")
    index = read_index(Path(photos))
    if index.is_split:
        raise UserError(f"{photos} is split already; give it to `depthwise train` as it is")
    old = _read_previous(Path(previous), out) if previous is not None else ()
    result = deal(index, config, workers=workers, console=console, previous=old)
    if config.folds:
        _write_folds(paths, result.records, config)
        return replace(result, path=paths[0], notes=(*result.notes, f"{len(paths)} folds: {paths[0]} to {paths[-1]}"))
    write_manifest(out, result.records)
    return replace(result, path=out)


def _read_previous(previous: Path, out: Path) -> tuple[Record, ...]:
    try:
        index = read_index(previous)
        if not index.is_split:
            raise UserError(f"{previous} does not say which split a picture is in, so none can keep it")
        return index.records
    except UserError as error:
        hint = f"{out} exists; choose another --out, or replace it with --overwrite"
        hint = hint if previous == out else "Name a manifest of `depthwise split` by --previous, or leave it out"
        raise UserError(f"{error}\n{hint}") from None


def deal(
    index: Index,
    config: SplitConfig,
    *,
    workers: int | None,
    console: Quiet,
    previous: Sequence[Record] = (),
    ledger: Ledger | None = None,
) -> SplitResult:
    """Look at every picture of an index without splits and give each usable one its split; write nothing."""
    for note in index.notes:
        console.warn(note)
    kept, num_quarantined = leave_out(index.records, config.quarantine)
    looked = look_at(kept, default_workers() if workers is None else workers, console, ledger)
    check_same_classes(index.classes, looked.records, str(index.source))
    records, torn, notes = place(looked, index.source, config, previous)
    if num_quarantined:
        notes.append(f"{num_quarantined} pictures left out, as {config.quarantine} says")
    return SplitResult(tuple(records), (*looked.skipped, *torn), (*index.notes, *notes))


def look_at(records: Sequence[Record], workers: int, console: Quiet, ledger: Ledger | None = None) -> Looked:
    """Look at every picture, and for those of the same shot. Raises UserError when over a tenth cannot be used."""
    with ledger or Ledger() as book:
        found = examine_all([record.path for record in records], workers, console, book)
        skipped = [look for look in found if isinstance(look, Skipped)]
        check_share(skipped, len(records))
        pairs = [(r, look) for r, look in zip(records, found, strict=True) if not isinstance(look, Skipped)]
        usable = [replace(record, hash=look.content) for record, look in pairs]
        prints = [look for _, look in pairs]
        search = find_twins(usable, prints, book, workers, console)
    return Looked(usable, prints, search, skipped)


def place(
    looked: Looked, source: Path, config: SplitConfig, previous: Sequence[Record] = ()
) -> tuple[list[Record], list[Skipped], list[str]]:
    """Return the records with their splits and groups, those that belong to two splits at once, and notes.

    Together stay look-alikes and groups: by `config.group_by`, whose columns are in `source`, and those that the
    records or the old manifest `previous` name.
    """
    records = looked.records
    known = known_before(records, previous)
    fixed = {index: old.split for index, old in known.items()}
    ruled = rule_groups(config.group_by, [record.path for record in records], source)
    old_groups = gather([known[index].group if index in known else "" for index in range(len(records))])
    together = [*ruled, *old_groups, *gather([record.group for record in records])]
    pairs = [(twins.first, twins.second) for twins in looked.search.pairs]
    equal = [pair for pair in pairs if looked.prints[pair[0]].pixels == looked.prints[pair[1]].pixels]
    grouping = group_up(len(records), equal, pairs, together)
    links = [pair for pair in pairs if grouping.labels[pair[0]] == grouping.labels[pair[1]]]
    growth = grow(len(records), links, [*together, *equal_pixels(looked.prints)], fixed)
    dealt = _deal_out(records, grouping.labels, config, {**fixed, **growth.places}, growth.torn)
    torn = [
        Skipped(records[index].path, "torn", f"resembles pictures in {' and in '.join(sides)}")
        for index, sides in sorted(growth.torn.items())
    ]
    notes = _notes(looked, grouping.too_large, equal, {*links} - {*equal})
    if previous:
        notes.append(f"{len(fixed)} pictures stay where they were, {len(dealt) - len(fixed)} are new")
        if len(dealt) > len(fixed) and not ruled and _are_by_rule(old_groups, len(records), pairs):
            notes.append(RULE_FORGOTTEN)
    if config.group_by is not None:
        num_alone = len(records) - sum(map(len, ruled))
        alone = f"; the other {num_alone} stand alone" if num_alone else ""
        notes.append(f"{len(ruled)} groups by {config.group_by}, {sum(map(len, ruled))} pictures in them{alone}")
    if not previous:
        notes += _missed_shares(dealt, config)
    return dealt, torn, notes


def _missed_shares(dealt: Sequence[Record], config: SplitConfig) -> Iterator[str]:
    """Yield a note for each split that groups keep far from its share."""
    if max(Counter(record.group for record in dealt if record.group).values(), default=0) <= 2:
        return
    found = Counter(record.split for record in dealt)
    for split, wanted in (("valid", config.valid), ("test", config.test)):
        share = found[split] / len(dealt)
        if abs(share - wanted) > FAR * wanted:
            yield f"{split} has {share:.0%} of the pictures, not {wanted:.0%}: groups stay whole, and some are large"


def _deal_out(
    records: Sequence[Record],
    labels: Sequence[int],
    config: SplitConfig,
    settled: Mapping[int, str],
    torn: Container[int],
) -> list[Record]:
    """Return the records that are not `torn` with their splits and groups; those that are `settled` go there."""
    sizes, units = Counter(labels), _unit_names(records, labels)
    kept = [index for index in range(len(records)) if index not in torn]
    splits = stratified_split(
        [units[index] for index in kept],
        [records[index].label for index in kept],
        valid=config.valid,
        test=config.test,
        seed=config.seed,
        fixed={new: settled[old] for new, old in enumerate(kept) if old in settled},
        minimum=config.min_per_class,
    )
    return [
        replace(records[index], split=side, group=units[index] if sizes[labels[index]] > 1 else "")
        for index, side in zip(kept, splits, strict=True)
    ]


def _are_by_rule(groups: Sequence[Sequence[int]], num_images: int, pairs: Sequence[Pair]) -> bool:
    """Tell whether likeness alone does not make these groups."""
    alike = group_up(num_images, pairs, [], []).labels
    return any(len({alike[index] for index in group}) > 1 for group in groups)


def _unit_names(records: Sequence[Record], labels: Sequence[int]) -> list[str]:
    """Return for each picture the smallest content hash of its group."""
    names: dict[int, str] = {}
    for record, label in zip(records, labels, strict=True):
        names[label] = min(names.get(label, record.hash), record.hash)
    return [names[label] for label in labels]


def check_same_classes(classes: Sequence[str], usable: Sequence[Record], source: str) -> None:
    """Raise UserError naming the classes that lost all their pictures."""
    lost = sorted(set(classes) - {record.label for record in usable})
    if lost:
        raise UserError(f"{source}: no picture can be used in the class {', '.join(map(repr, lost))}")


def _notes(
    looked: Looked, too_large: Sequence[Sequence[int]], equal: Sequence[Pair], near: Collection[Pair]
) -> list[str]:
    notes = list(looked.search.notes)
    if equal:
        notes.append(f"{len(equal)} pictures are exact copies of others; copies are kept in one split")
    if near:
        num_turned = sum(twins.form > 0 and twins[:2] in near for twins in looked.search.pairs)
        turned = f", {num_turned} of them mirrored or turned" if num_turned else ""
        notes.append(f"{len(near)} pairs of near duplicates{turned}; they are kept in one split")
    for chain in too_large:
        notes.append(
            f"{len(chain)} pictures look alike in one chain, e.g. {looked.records[chain[0]].path}: too many to be one "
            "shot, so they are dealt out one by one; if they belong together, say so with --group-by"
        )
    labels: dict[str, set[str]] = {}
    for record, print_ in zip(looked.records, looked.prints, strict=True):
        labels.setdefault(print_.pixels, set()).add(record.label)
    conflicts = [(r, p) for r, p in zip(looked.records, looked.prints, strict=True) if len(labels[p.pixels]) > 1]
    if conflicts:
        example = ", ".join(os.fspath(r.path) for r, p in conflicts if p.pixels == conflicts[0][1].pixels)
        notes.append(f"{len(conflicts)} pictures stand in several classes, e.g. {example}; decide which is right")
    return notes


def _fold_paths(out: Path, folds: int) -> list[Path]:
    return [out.with_name(f"{out.stem}-fold{number + 1}{out.suffix}") for number in range(folds)]


def _write_folds(paths: Sequence[Path], records: Sequence[Record], config: SplitConfig) -> None:
    """Write a manifest per fold: its part is for validation, the others for training; test stays."""
    dealt = [record for record in records if record.split != "test"]
    units = [record.group or record.hash for record in dealt]
    numbers = fold_of(units, [record.label for record in dealt], folds=config.folds, seed=config.seed)
    folds = dict(zip([record.path for record in dealt], numbers, strict=True))
    for number, path in enumerate(paths):
        sides = [
            record
            if record.split == "test"
            else replace(record, split="valid" if folds[record.path] == number else "train")
            for record in records
        ]
        write_manifest(path, sides)
