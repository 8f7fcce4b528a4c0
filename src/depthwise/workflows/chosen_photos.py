"""Which photos a model is judged on, and which it must not be."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from depthwise.artifact import Card
from depthwise.console import Quiet
from depthwise.data.index import Index, Record, read_index, real_places
from depthwise.errors import UserError
from depthwise.workflows.run_folder import RunFolder

Origin = Literal["run", "new", "unknown"]
"""Whose photos these are: of the same split of the run, new to the run, or nobody can tell."""
NUM_NAMED = 3
"""Photos that an error names, of many."""


@dataclass(frozen=True)
class Chosen:
    """Photos to judge a model on, and what the run did with those that it knows."""

    split: str
    records: tuple[Record, ...]
    known: dict[str, str]
    """The other split in which the run had a photo, by the photo's hash; empty where that does not matter."""
    origin: Origin
    is_own: bool
    """Whether the run itself says which photos these are."""
    used: Index | None = None
    """The run's split; None where it is not known."""

    def without_known(self, kept: Sequence[Record], console: Quiet) -> list[int]:
        """Return the places of the photos that are, by content, in no other split of the run; hashes are filled in.

        Copies within the run's own folders are left out with a warning. Raises UserError when there are others.
        """
        if not self.is_own:
            _refuse_known([record.hash for record in kept], self.known, self.split, kept)
            return list(range(len(kept)))
        places = [at for at, r in enumerate(kept) if self.known.get(r.hash, self.split) == self.split]
        if len(places) < len(kept):
            first = next(r for r in kept if self.known.get(r.hash, self.split) != self.split)
            console.warn(
                f"{len(kept) - len(places):,} of these {len(kept):,} {self.split} pictures are copies of pictures that "
                f"the run used otherwise, and left out; the first: {first.place} (also in {self.known[first.hash]})"
            )
        return places


def choose_photos(
    path: Path, card: Card, data: str | Path | None, split: str, *, allow_other_split: bool, console: Quiet
) -> Chosen:
    """Return the photos of `split` in `data` (default: in what the model file `path` was trained with).

    The split that training used decides. Raises UserError when photos would be among them that the run trained on or
    chose its best epoch by (unless `allow_other_split`), or when the classes differ.
    """
    used = RunFolder(path.parent).read_split(card, console)
    if data is None and used is None:
        what = "has no splits.csv of its training beside it"
        if "split_sha256" not in card.training and RunFolder(path.parent).splits.exists():
            what = "does not say by which split it was trained, so the splits.csv beside it may be another's"
        raise UserError(f"{path} {what}; name the pictures, as in depthwise evaluate {path} DATA")
    index = used if data is None else read_index(Path(data))
    assert index is not None
    _check_classes(index, card.classes, console)
    records = _choose_records(index, used, split, console)
    places, splits = real_places(r.place for r in records), {place: r.split for place, r in _by_place(used)}
    num_trained = sum(splits.get(place) == "train" for place in places)
    if split in ("train", "all") and num_trained:
        console.warn(f"{num_trained:,} of these pictures were trained on: the result says nothing about new ones")
    elif allow_other_split:
        console.warn("pictures that the run used otherwise may be among these: the result may be too good")
    if not allow_other_split:
        _refuse_known(places, splits, split, records)
    known: dict[str, str] = {}
    if used and not allow_other_split and split != "all":
        known = {r.hash: r.split for r in used.records if r.hash and r.split != split}
    is_run_s = data is None or any(splits.get(place) == split for place in places)
    origin: Origin = "unknown" if used is None or allow_other_split else "run" if is_run_s else "new"
    return Chosen(split, records, known, origin, data is None, used)


def _by_place(index: Index | None) -> list[tuple[str, Record]]:
    """Return the records with their places, to compare these by; none of no index."""
    records = index.records if index else ()
    return list(zip(real_places(record.place for record in records), records, strict=True))


def _check_classes(index: Index, classes: tuple[str, ...], console: Quiet) -> None:
    """Raise UserError for classes that the model does not know; warn of those without a picture."""
    missing, extra = sorted(set(classes) - set(index.classes)), sorted(set(index.classes) - set(classes))
    named = ", ".join(map(repr, missing))
    if extra:
        lines = [f"  only in the model: {named}"] * bool(missing)
        lines += [f"  only in the data: {', '.join(map(repr, extra))}"]
        raise UserError(
            f"the classes of {index.source} are not the model's:\n" + "\n".join(lines) + "\nName folders as the model "
            "names its classes; leave out pictures of others, or train with them."
        )
    if missing:
        console.warn(f"there are no pictures of {named}: nothing is said of how well they are told")


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


def _refuse_known(keys: list[Any], known: dict[Any, str], split: str, records: Sequence[Record]) -> None:
    """Raise UserError when pictures to evaluate on are in another split of the run."""
    wrong = [(known[key], r.place) for key, r in zip(keys, records, strict=True) if known.get(key, split) != split]
    if wrong and split != "all":
        splits = [name for name, _ in wrong]
        counts = " and ".join(f"{splits.count(name)} in {name}" for name in sorted(set(splits)))
        places = ", ".join(str(place) for _, place in wrong[:NUM_NAMED]) + ", ..." * (len(wrong) > NUM_NAMED)
        raise UserError(
            f"{len(wrong)} of these {len(keys)} {split} pictures were used otherwise by the run ({counts}): the result "
            f"would not be honest: {places}\nLeave DATA out to use the run's own split, or insist with "
            "--allow-other-split."
        )
