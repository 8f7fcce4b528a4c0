"""What there is to learn from: a folder, a folder already split, or a manifest, as records of path and class."""

import hashlib
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from depthwise import files
from depthwise.data.archives import is_archive, unpacked
from depthwise.data.folders import class_folders, find_pictures
from depthwise.data.split import SPLITS
from depthwise.data.table import csv_line, harmless, original, read_table
from depthwise.errors import UserError

SPLIT_FOLDERS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "val", "validation", "dev"), "valid"),
    **dict.fromkeys(("test", "testing"), "test"),
}
COLUMNS = ("path", "class", "split", "hash", "group")


@dataclass(frozen=True, slots=True)
class Record:
    """One labelled picture. There may be millions, so a string stands where a Path would take three times as much."""

    place: str
    """Where it lies; absolute."""
    label: str
    """Name of its class."""
    split: str = ""
    """train, valid, test, or '' while that is open."""
    hash: str = ""
    """First 32 hex digits of the SHA-256 of its bytes; '' while it has not been read."""
    group: str = ""
    """Pictures with the same group stay on one side; '' for a picture alone."""

    @property
    def path(self) -> Path:
        """Where it lies; absolute."""
        return Path(self.place)


@dataclass(frozen=True)
class Index:
    """The records of a data set, in a fixed order."""

    source: Path
    """The folder or manifest that they come from; absolute."""
    records: tuple[Record, ...]
    notes: tuple[str, ...] = ()
    """What was seen and not taken: hidden folders, other files, empty classes."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in code point order; a class's number is its place here."""
        return tuple(sorted({record.label for record in self.records}))

    @property
    def is_split(self) -> bool:
        """True when each record says where it belongs."""
        return all(record.split for record in self.records)

    def part(self, split: str) -> tuple[Record, ...]:
        """Return the records of one split."""
        return tuple(record for record in self.records if record.split == split)


def read_index(source: Path) -> Index:
    """Read `source`: a CSV, a folder with train/ and valid/ or test/, one of class folders, or an archive of either.

    Raises UserError when there is no such place, no picture, one class only, or classes that differ between splits.
    """
    index = scan(source)
    _check_usable(index)
    return index


def scan(source: Path) -> Index:
    """Read `source` as `read_index` does, without asking whether it can be learned from.

    Raises UserError when there is no such place, or a manifest cannot be read.
    """
    source = Path(os.path.abspath(source))
    if source.is_dir():
        return _read_folder(source)
    if source.is_file() and is_archive(source):
        return _read_folder(unpacked(source))
    if source.is_file():
        return _read_manifest(source)
    raise UserError(f"{source}: no such folder or manifest")


def _check_usable(index: Index) -> None:
    source = index.source
    if not index.records:
        seen = "".join(f"\n  {note}" for note in index.notes)
        raise UserError(f"{source}: no pictures found; expected one folder per class, with pictures in it{seen}")
    if len(index.classes) < 2:
        raise UserError(
            f"{source}: only one class, {index.classes[0]!r}; a classifier needs two or more, each in its own folder"
        )
    _check_names(index)
    _check_same_classes(index)


def _read_folder(root: Path) -> Index:
    names, hidden, loose = class_folders(root)
    named = {name: SPLIT_FOLDERS[name.lower()] for name in names if name.lower() in SPLIT_FOLDERS}
    parts = [name for name in named if class_folders(root / name)[0]]
    if len(named) < 2 or "train" not in (named[name] for name in parts):
        records_, notes_ = _read_classes(root, "")
        deep = [
            f"{root / name} has folders of its own and is taken for one class, {name!r}; if it is a split, move "
            "elsewhere what is none beside it"
            for name in parts
        ]
        return Index(root, records_, (*notes_, *deep))
    records: list[Record] = []
    notes = _passed_over(root, hidden, loose)
    notes += [f"not a split, left out: {root / name}" for name in names if name not in named]
    notes += [f"no class folders in it, left out: {root / name}" for name in named if name not in parts]
    for name in parts:
        more_records, more_notes = _read_classes(root / name, SPLIT_FOLDERS[name.lower()])
        records += more_records
        notes += more_notes
    return Index(root, tuple(records), tuple(notes))


def _read_classes(root: Path, split: str) -> tuple[tuple[Record, ...], tuple[str, ...]]:
    names, hidden, loose = class_folders(root)
    notes = _passed_over(root, hidden, loose)
    records = []
    for name in names:
        places, num_other = find_pictures(root / name)
        records += [Record(place, name, split) for place in places]
        if not places:
            notes.append(f"folder without pictures, not a class: {root / name}")
        elif num_other:
            notes.append(f"{num_other} files in {root / name} left out: their endings are not of pictures")
    return tuple(records), tuple(notes)


def _passed_over(root: Path, hidden: list[str], loose: int) -> list[str]:
    notes = [f"hidden folder left out: {root / name}" for name in hidden]
    if loose:
        notes.append(f"{loose} pictures directly in {root} left out: they are in no class folder")
    return notes


def _check_names(index: Index) -> None:
    for name in index.classes:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise UserError(f"{index.source}: the class name {name!r} is not valid UTF-8; rename the folder") from None


def _check_same_classes(index: Index) -> None:
    present = [split for split in SPLITS if index.part(split)]
    for split in present:
        missing = sorted(set(index.classes) - {record.label for record in index.part(split)})
        if missing:
            raise UserError(
                f"{index.source}: {split} has no pictures of {', '.join(map(repr, missing))}, but other splits do.\n"
                "Every split needs every class; classes are joined by name, so check the spelling."
            )


def _read_manifest(path: Path) -> Index:
    rows = read_table(path, "path") or []
    label = next((name for name in ("class", "label") if rows and name in rows[0][1]), None)
    if label is None:
        raise UserError(
            f"{path}: not a manifest; its first line must name the columns path,class,split (or path,label)"
        )
    records, folder = [], _real_parent(path)
    has_split = any(row.get("split") for _, row in rows)
    for number, row in rows:
        split = SPLIT_FOLDERS.get(row.get("split", "").lower(), "")
        if not row["path"] or not row[label] or (has_split and not split):
            raise UserError(f"{path}, line {number}: needs a path, a class, and a split of {', '.join(SPLITS)}")
        content = row.get("hash") or ""
        if content and (len(content) != 32 or set(content) - set("0123456789abcdef")):
            raise UserError(f"{path}, line {number}: hash {content!r} is not 32 hexadecimal digits; leave it empty")
        name, group = sys.intern(original(row[label])), original(row.get("group") or "")
        records.append(Record(_place(folder, row), name, split, content, group))
    repeated = [place for place, count in Counter(record.place for record in records).items() if count > 1]
    if repeated:
        raise UserError(f"{path}: names {len(repeated)} files twice, e.g. {repeated[0]}")
    return Index(path, tuple(records))


def _real_parent(file: Path) -> Path:
    """Return the folder that a file's relative paths start from: without links, so that .. is what the system takes."""
    return Path(os.path.realpath(file.parent))


def _place(folder: Path, row: Mapping[str, str]) -> str:
    return os.path.normpath(folder / row["path"])


def read_column(manifest: Path, name: str) -> dict[Path, str]:
    """Return one column of a CSV by the pictures' paths. Raises UserError when there is none of that name."""
    rows = (read_table(manifest, "path") or []) if manifest.is_file() else []
    if not rows or name.lower() not in rows[0][1]:
        raise UserError(f"{manifest} has no column {name!r}; csv:COLUMN needs a CSV with path and that column as DATA")
    folder = _real_parent(manifest)
    return {Path(_place(folder, row)): row[name.lower()] for _, row in rows}


def write_manifest(path: Path, records: Iterable[Record]) -> None:
    """Write splits.csv: paths relative to its folder where they can be (same drive), with forward slashes."""
    lines, name_of = [csv_line(COLUMNS)], naming(path.parent)
    for record in records:
        cells = (name_of(record.path), harmless(record.label), record.split, record.hash, harmless(record.group))
        lines.append(csv_line(cells))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {path.parent}: {error.strerror}") from error
    files.write_whole(path, "".join(lines).encode("utf-8", "surrogateescape"))


def digest_of_split(records: Iterable[Record]) -> str:
    """Return a SHA-256 of which photo has which class and split, wherever they lie.

    A photo is told by its content; one whose hash is not known (test photos of a ready-made split) by its file's name.
    """
    lines = sorted(csv_line((record.hash or record.path.name, record.label, record.split)) for record in records)
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def naming(folder: Path) -> Callable[[Path], str]:
    """Return what gives a picture's path as a list in `folder` names it: relative where it can be, forward slashes.

    Relative by the nearest folder that both are in, whatever links lead there (~/scratch for /disk3/me): so it means
    the same from every way into `folder`, and moves with both. Links below that one are kept.
    """
    base = Path(os.path.realpath(folder))

    @cache
    def way_to(parent: Path) -> Path:
        for above in (parent, *parent.parents):
            shared = Path(os.path.realpath(above))
            if base.is_relative_to(shared):
                return Path(os.path.relpath(shared / parent.relative_to(above), base))
        return parent  # another drive

    def name_of(path: Path) -> str:
        name = (way_to(path.parent) / path.name).as_posix()
        return name if harmless(name) == name else f"./{name}"

    return name_of


def real_places(places: Iterable[str]) -> list[str]:
    """Return where pictures lie, whatever links lead to their folders: equal for one place, to compare places by.

    A picture that is a link itself stays one: what it leads to is another place.
    """
    real = cache(os.path.realpath)
    return [os.path.join(real(os.path.dirname(place)), os.path.basename(place)) for place in places]


def known_before(records: Sequence[Record], previous: Sequence[Record]) -> dict[int, Record]:
    """Return what an old manifest says of each picture that it names.

    By place and content; else by content, where it was moved; else by place, where it was changed: then its old
    content is nowhere else, so that no other picture has taken the name.
    """
    places = real_places(record.place for record in records)
    by_place = dict(zip(real_places(record.place for record in previous), previous, strict=True))
    now = {place: record.hash for place, record in zip(places, records, strict=True)}
    here = set(now.values())
    by_hash: dict[str, list[Record]] = defaultdict(list)
    for place, old in by_place.items():
        if old.hash and now.get(place) != old.hash:
            by_hash[old.hash].append(old)
    known = {}
    for index, (place, record) in enumerate(zip(places, records, strict=True)):
        at_place, found = by_place.get(place), by_hash.get(record.hash, [])
        if at_place and (at_place.hash == record.hash or at_place.hash not in here):
            known[index] = at_place
        elif len({old.split for old in found}) == 1:
            known[index] = found[0]
    return known
