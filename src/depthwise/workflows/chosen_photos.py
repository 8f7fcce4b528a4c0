"""Which photos a model is judged on, and which it must not be."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from depthwise.artifact import Card
from depthwise.console import Quiet
from depthwise.data.index import Index, Record, read_index, real_places
from depthwise.errors import UserError
from depthwise.workflows.run_folder import RunFolder


@dataclass(frozen=True)
class Chosen:
    """Photos to judge a model on, and what the run did with those that it knows."""

    split: str
    records: tuple[Record, ...]
    known: dict[str, str]
    """The split in which the run had a photo, by the photo's hash; empty where that does not matter."""

    def refuse_known(self, kept: Sequence[Record]) -> None:
        """Raise UserError when photos, by content, are in another split of the run. Their hashes are filled in."""
        _refuse_known([record.hash for record in kept], self.known, self.split)


def choose_photos(
    path: Path, card: Card, data: str | Path | None, split: str, *, allow_other_split: bool, console: Quiet
) -> Chosen:
    """Return the photos of `split` in `data` (default: in what the model file `path` was trained with).

    The split that training used decides. Raises UserError when photos would be among them that the run trained on or
    chose its best epoch by (unless `allow_other_split`), or when the classes differ.
    """
    manifest = RunFolder(path.parent).splits
    used = read_index(manifest) if manifest.exists() else None
    if data is None and used is None:
        raise UserError(f"{path} has no splits.csv beside it; name the pictures: depthwise evaluate {path} DATA")
    index = used if data is None else read_index(Path(data))
    assert index is not None
    _check_classes(index, card.classes)
    records = _choose_records(index, used, split, console)
    if split in ("train", "all") and used:
        console.warn("training pictures are among these: the result says nothing about new ones")
    elif allow_other_split:
        console.warn("pictures that the run used otherwise may be among these: the result may be too good")
    if not allow_other_split:
        places = real_places(record.place for record in records)
        _refuse_known(places, {place: r.split for place, r in _by_place(used)}, split)
    known = {r.hash: r.split for r in used.records if r.hash} if used and not allow_other_split else {}
    return Chosen(split, records, known)


def _by_place(index: Index | None) -> list[tuple[str, Record]]:
    """Return the records with their places, to compare these by; none of no index."""
    records = index.records if index else ()
    return list(zip(real_places(record.place for record in records), records, strict=True))


def _check_classes(index: Index, classes: tuple[str, ...]) -> None:
    missing, extra = sorted(set(classes) - set(index.classes)), sorted(set(index.classes) - set(classes))
    if missing or extra:
        lines = [f"  only in the model: {', '.join(map(repr, missing))}"] * bool(missing)
        lines += [f"  only in the data: {', '.join(map(repr, extra))}"] * bool(extra)
        raise UserError(f"the classes of {index.source} are not the model's:\n" + "\n".join(lines))


def _choose_records(index: Index, used: Index | None, split: str, console: Quiet) -> tuple[Record, ...]:
    """Return the records of `split`: as the data say, else as the run said, else (both silent) all of them."""
    if split == "all":
        return index.records
    if index.is_split and index.part(split):
        return index.part(split)
    here = {place for place, _ in _by_place(index)}
    known = [record for place, record in _by_place(used) if place in here]
    if ours := tuple(record for record in known if record.split == split):
        console.say(f"Using the run's own split: {len(ours):,} {split} pictures of {index.source}.")
        return ours
    if index.is_split or known:
        raise UserError(f"{index.source} has no pictures in the split {split!r}")
    what = "is new to the run" if used else "what the model was trained on is not known here"
    console.say(f"{index.source} has no split, and {what}: evaluating all {len(index.records):,} pictures.")
    return index.records


def _refuse_known(keys: list[Any], known: dict[Any, str], split: str) -> None:
    """Raise UserError when pictures to evaluate on are in another split of the run."""
    wrong = [known[key] for key in keys if known.get(key, split) != split]
    if wrong and split != "all":
        counts = " and ".join(f"{wrong.count(name)} in {name}" for name in sorted(set(wrong)))
        raise UserError(
            f"{len(wrong)} of these {len(keys)} {split} pictures were used otherwise by the run ({counts}): the result "
            "would not be honest.\nLeave DATA out to use the run's own split, or insist with --allow-other-split."
        )
