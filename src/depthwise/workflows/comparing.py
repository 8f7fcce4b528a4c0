"""`depthwise compare`: is the new model worse than the old one? Both answer the same photos, and only those count."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from depthwise.console import Quiet
from depthwise.data.audit import Skipped
from depthwise.data.index import real_places
from depthwise.errors import UserError
from depthwise.metrics import Paired, compare_pairs, pairs_needed
from depthwise.workflows.answered import Measured, measure
from depthwise.workflows.loading import load
from depthwise.workflows.run_folder import find_model
from depthwise.workflows.test_reads import record_read


@dataclass(frozen=True)
class ModelComparison:
    """Two models on the photos that neither has learned from."""

    split: str
    old_top1: float
    new_top1: float
    overall: Paired
    classes: dict[str, Paired]
    """The same for the photos of each class."""
    margin: float
    num_left_out: int
    """Photos that only one of the two could be judged on."""
    skipped: tuple[Skipped, ...]

    @property
    def is_worse(self) -> bool:
        """Whether the new model fails.

        Without a margin: it is worse, beyond chance (the 95 % interval of the difference lies below 0). With one: it
        is not shown to be at most so much worse (the interval's lower end lies below -margin).
        """
        low, high = self.overall.interval
        return low < -self.margin if self.margin else high < 0

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "split": self.split,
            "old_top1": self.old_top1,
            "new_top1": self.new_top1,
            **_plain(self.overall),
            "photos_needed": pairs_needed(self.overall),
            "margin": self.margin,
            "is_worse": self.is_worse,
            "is_shown_worse": self.overall.interval.high < 0,
            "classes": [{"label": name, **_plain(found)} for name, found in self.classes.items()],
            "num_left_out": self.num_left_out,
            "skipped": [{"path": str(s.path), "reason": s.reason, "error": s.detail} for s in self.skipped],
        }


def _plain(found: Paired) -> dict[str, Any]:
    return found._asdict() | {"interval": list(found.interval)}


def compare(
    old: str | Path,
    new: str | Path,
    data: str | Path | None = None,
    split: str = "test",
    *,
    margin: float = 0.0,
    allow_other_split: bool = False,
    factory: str | None = None,
    device: str = "auto",
    trust_code: bool = False,
    workers: int | None = None,
    console: Quiet | None = None,
) -> ModelComparison:
    """Compare two models (run folders, model files or exports) on one split of `data` (default: of their runs).

    Only photos that neither run used otherwise count. `factory` made the network of one or both of them; it and
    `trust_code` are `load`'s. Raises UserError as `evaluate` does, when the models have other classes, or when there is
    no photo that both can be judged on.
    """
    if not 0 <= margin < 1:
        raise UserError(f"--margin {margin:g}: a share of photos of at least 0 and below 1, like 0.01")
    paths = [find_model(model) for model in (old, new)]
    first, second = (
        measure(
            path, load(path, device, factory, trust_code=trust_code), data, split, allow_other_split, workers, console
        )
        for path in paths
    )
    _check_same_classes(first, second)
    shared, left_out = _shared(first, second)
    if split == "test":
        for path, found in zip(paths, (first, second), strict=True):
            record_read(path, found)
    rights = [_right(found)[places] for found, places in zip((first, second), shared, strict=True)]
    labels = np.array([record.label for record in first.records])[shared[0]]
    groups = None if first.groups is None else np.array(first.groups)[shared[0]]

    def paired(is_meant: Any) -> Paired:
        old_right, new_right = (right[is_meant] for right in rights)
        return compare_pairs(old_right, new_right, None if groups is None else groups[is_meant])

    everything = np.ones(len(labels), bool)
    names = [name for name in first.classifier.classes if (labels == name).any()]
    return ModelComparison(
        split=split,
        old_top1=float(rights[0].mean()),
        new_top1=float(rights[1].mean()),
        overall=paired(everything),
        classes={name: paired(labels == name) for name in names},
        margin=margin,
        num_left_out=left_out,
        skipped=tuple(dict.fromkeys((*first.skipped, *second.skipped))),
    )


def _right(found: Measured) -> Any:
    return found.outputs.logits.argmax(axis=1) == found.labels


def _check_same_classes(first: Measured, second: Measured) -> None:
    old, new = set(first.classifier.classes), set(second.classifier.classes)
    if old != new:
        listing = ", ".join(map(repr, sorted(old ^ new)))
        raise UserError(f"the two models do not know the same classes: only one of them has {listing}")


def _shared(first: Measured, second: Measured) -> tuple[list[list[int]], int]:
    """Return the places of the photos that both have, in each, and the number of others. Raises UserError for none."""
    ours, theirs = (real_places(record.place for record in found.records) for found in (first, second))
    number = {place: at for at, place in enumerate(theirs)}
    pairs = [(at, number[place]) for at, place in enumerate(ours) if place in number]
    if not pairs:
        raise UserError(
            "there is no photo that both models can be judged on: each run has a split of its own. Name photos that "
            "neither has seen: depthwise compare OLD NEW DATA"
        )
    left_out = len(first.records) + len(second.records) - 2 * len(pairs)
    return [list(places) for places in zip(*pairs, strict=True)], left_out
