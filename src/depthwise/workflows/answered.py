"""A model's answers to photos whose classes are known: what evaluate, calibrate and compare start from."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from depthwise.config import default_workers
from depthwise.console import Quiet
from depthwise.data.audit import Skipped, check_share
from depthwise.data.cache import read_with
from depthwise.data.index import Index, Record
from depthwise.deploy.outcome import Outcome, outcome
from depthwise.deploy.predict import BATCH, Classifier, Outputs
from depthwise.errors import UserError
from depthwise.metrics import Assessment, Labels, assess
from depthwise.workflows.chosen_photos import Origin, choose_photos


@dataclass(frozen=True)
class Measured:
    """A model's answers to photos whose classes are known."""

    classifier: Classifier
    records: tuple[Record, ...]
    """Those that could be used, with hashes."""
    labels: Labels
    outputs: Outputs
    skipped: tuple[Skipped, ...]
    origin: Origin = "run"
    used: Index | None = None
    """The split of the model's run; None where it is not known."""

    @property
    def groups(self) -> list[str] | None:
        """What is not independent has the same name; None where all photos stand alone."""
        if not any(record.group for record in self.records):
            return None
        return [f"group {r.group}" if r.group else f"photo {place}" for place, r in enumerate(self.records)]

    def assess(self) -> Assessment:
        """Return how the single view does."""
        temperature = self.classifier.engine.card.temperature
        return assess(self.outputs.logits, self.labels, temperature=temperature, groups=self.groups)

    def assess_views(self) -> Assessment | None:
        """Return how the average over the views does; None with one view."""
        if self.classifier.views == "1":
            return None
        logs = np.log(np.maximum(self.outputs.stated, 1e-30)).astype(np.float32)
        return assess(logs, self.labels, groups=self.groups)

    def decide(self) -> Outcome | None:
        """Return what the file's rule for decisions does; None where there is none."""
        decision, found = self.classifier.decision, self.outputs
        if decision.is_empty:
            return None
        answers, reasons = decision.decide(self.classifier.classes, found.stated, found.logits, found.features)
        return outcome(decision, self.classifier.classes, answers, reasons, self.labels, self.groups)


def measure(
    path: Path,
    classifier: Classifier,
    data: str | Path | None,
    split: str,
    allow_other_split: bool = False,
    workers: int | None = None,
    console: Quiet | None = None,
    *,
    wants_features: bool = False,
) -> Measured:
    """Return the answers of the model file `path` to one split. Raises UserError as `evaluate` does."""
    console, workers = console or Quiet(), default_workers() if workers is None else workers
    card = classifier.engine.card
    chosen = choose_photos(path, card, data, split, allow_other_split=allow_other_split, console=console)
    kept, skipped, outputs = compute(classifier, chosen.records, workers, console, wants_features=wants_features)
    check_share(skipped, len(chosen.records))
    places = chosen.without_known(kept, console)
    if not places:
        raise UserError(f"no {split} picture is left to judge {path} on")
    _check_finite(outputs, kept, path)
    if len(places) < len(kept):
        kept, outputs = [kept[place] for place in places], _taken(outputs, places)
    number = {name: place for place, name in enumerate(card.classes)}
    labels = np.array([number[record.label] for record in kept], np.int64)
    return Measured(classifier, tuple(kept), labels, outputs, tuple(skipped), chosen.origin, chosen.used)


def _check_finite(outputs: Outputs, records: Sequence[Record], path: Path) -> None:
    """Raise UserError when an answer is no number."""
    is_number = np.isfinite(outputs.logits).all(axis=1) & np.isfinite(outputs.stated).all(axis=1)
    wrong = np.flatnonzero(~is_number)
    if len(wrong):
        raise UserError(
            f"{path}: the answers to {len(wrong):,} of {len(records):,} pictures are no numbers (nan or inf); the "
            f"first: {records[wrong[0]].place}\nThe file is damaged, or what computes it here overflows: see depthwise "
            "verify, or try another --engine"
        )


def _taken(outputs: Outputs, places: list[int]) -> Outputs:
    features = None if outputs.features is None else outputs.features[places]
    return Outputs(outputs.logits[places], outputs.stated[places], features)


def compute(
    classifier: Classifier,
    records: Sequence[Record],
    workers: int,
    console: Quiet,
    *,
    wants_features: bool = False,
    label: str = "Evaluating",
) -> tuple[list[Record], list[Skipped], Outputs]:
    """Return the records of the pictures that can be used, with hashes, the other pictures, and the answers."""
    kept: list[Record] = []
    skipped: list[Skipped] = []
    parts: list[Outputs] = []
    shown = console.track(read_with(classifier.read, records, workers), len(records), label)
    while chunk := list(islice(shown, BATCH)):
        skipped += [seen for _, seen in chunk if isinstance(seen, Skipped)]
        usable = [(record, seen) for record, seen in chunk if not isinstance(seen, Skipped)]
        if usable:
            kept += [record for record, _ in usable]
            parts.append(classifier.outputs([seen for _, seen in usable], wants_features=wants_features))
    return kept, skipped, joined(parts, len(classifier.classes))


def joined(parts: Sequence[Outputs], num_classes: int) -> Outputs:
    """Return what was said of all photos, in order; with (0, num_classes) where nothing was."""
    empty = np.empty((0, num_classes), np.float32)
    features = [part.features for part in parts if part.features is not None]
    return Outputs(
        np.concatenate([empty, *(part.logits for part in parts)]),
        np.concatenate([empty.astype(np.float64), *(part.stated for part in parts)]),
        np.concatenate(features) if features else None,
    )
