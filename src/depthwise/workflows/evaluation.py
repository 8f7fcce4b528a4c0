"""`depthwise evaluate`: how good a model is on pictures that it was not trained on."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthwise.config import default_workers
from depthwise.console import Quiet
from depthwise.data.audit import Skipped, check_share
from depthwise.data.cache import read_with
from depthwise.data.index import Record
from depthwise.data.views import ViewKind
from depthwise.deploy.outcome import Outcome, outcome
from depthwise.deploy.predict import BATCH, Classifier, Outputs
from depthwise.errors import UserError
from depthwise.metrics import Assessment, Labels, Scores, assess, photos_needed
from depthwise.metrics.assessment import listed
from depthwise.workflows.chosen_photos import choose_photos
from depthwise.workflows.loading import load
from depthwise.workflows.run_folder import find_model
from depthwise.workflows.test_reads import TestReads, record_read


@dataclass(frozen=True)
class Proof:
    """How many photos would prove an error rate."""

    target: float
    """The wanted error rate."""
    without_errors: int
    """Photos that prove it if none of them is wrong."""
    as_here: int | None
    """Photos that prove it if as many are wrong as here; None: no number does."""


@dataclass(frozen=True)
class Measured:
    """A model's answers to photos whose classes are known."""

    classifier: Classifier
    records: tuple[Record, ...]
    """Those that could be used, with hashes."""
    labels: Labels
    outputs: Outputs
    skipped: tuple[Skipped, ...]

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
        return outcome(decision, self.classifier.classes, answers, reasons, self.labels)


@dataclass(frozen=True)
class Evaluation:
    """How a model did on one split."""

    split: str
    classes: tuple[str, ...]
    assessment: Assessment
    skipped: tuple[Skipped, ...]
    """Pictures that could not be used; they are not counted in the scores."""
    views: ViewKind = "1"
    averaged: Assessment | None = None
    """Of the average over several views, where they were asked for."""
    outcome: Outcome | None = None
    """What the file's rule for decisions does, where it has one."""
    positive: str | None = None
    """The class with a wanted miss rate, where the rule has one."""
    proof: Proof | None = None
    """How many photos would prove a wanted error rate, where one was named."""
    reads: TestReads | None = None
    """How often these test photos were read."""

    @property
    def scores(self) -> Scores:
        """Top-1, top-5, loss and confusion of the single view."""
        return self.assessment.scores

    @property
    def calibration_error(self) -> float:
        """Of the probabilities that the model states, in [0, 1] (see `metrics.calibration_error`)."""
        return self.assessment.calibration_error

    def to_json(self) -> dict[str, Any]:
        """Return plain values, as the command line prints them."""
        found = self.assessment
        per_class = [
            {
                "label": name,
                "num_images": int(self.scores.confusion[number].sum()),
                "recall": _plain(found.classes.recall[number]),
                "recall_interval": listed(found.recall_intervals[number]),
                "precision": _plain(found.classes.precision[number]),
                "precision_interval": listed(found.precision_intervals[number]),
                "f1": _plain(found.classes.f1[number]),
            }
            for number, name in enumerate(self.classes)
        ]
        return {
            "split": self.split,
            **found.to_json(),
            "classes": per_class,
            "confusion": self.scores.confusion.tolist(),
            "views": {"kind": self.views, **self.averaged.to_json()} if self.averaged else None,
            "decision": {"positive": self.positive, **self.outcome.to_json()} if self.outcome else None,
            "proof": vars(self.proof) if self.proof else None,
            "test_reads": self.reads and {"reads": self.reads.num_reads, "models": self.reads.num_models},
            "skipped": [{"path": os.fspath(s.path), "reason": s.reason, "error": s.detail} for s in self.skipped],
        }


def evaluate(
    model: str | Path,
    data: str | Path | None = None,
    split: str = "test",
    *,
    views: ViewKind = "1",
    image_size: int | None = None,
    target_error: float | None = None,
    allow_other_split: bool = False,
    factory: str | None = None,
    device: str = "auto",
    workers: int | None = None,
    console: Quiet | None = None,
) -> Evaluation:
    """Return how `model` (a run folder or model file) does on one split of `data` (default: what it was trained with).

    The split that training used decides. `views` are averaged beside the single one; `image_size` replaces the
    network's. Each reading of a run's test photos is noted in RUN/test_reads.jsonl. Raises UserError when `data` would
    evaluate on pictures that the run trained on or chose its best epoch by (unless `allow_other_split`), or when the
    classes differ.
    """
    if target_error is not None and not 0 < target_error < 1:
        raise UserError(f"--target-error {target_error:g}: a share of wrong answers above 0 and below 1, like 0.01")
    path = find_model(model)
    classifier = load(path, device, factory, image_size=image_size, views=views, console=console)
    found = measure(path, classifier, data, split, allow_other_split, workers, console)
    assessment = found.assess()
    return Evaluation(
        split=split,
        classes=classifier.classes,
        assessment=assessment,
        skipped=found.skipped,
        views=views,
        averaged=found.assess_views(),
        outcome=found.decide(),
        positive=classifier.decision.miss.label if classifier.decision.miss else None,
        proof=None if target_error is None else _proof(target_error, assessment),
        reads=record_read(path, found.records) if split == "test" else None,
    )


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
    chosen.refuse_known(kept)
    number = {name: place for place, name in enumerate(card.classes)}
    labels = np.array([number[record.label] for record in kept], np.int64)
    return Measured(classifier, tuple(kept), labels, outputs, tuple(skipped))


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
    empty = np.empty((0, len(classifier.classes)), np.float32)
    features = [part.features for part in parts if part.features is not None]
    joined = Outputs(
        _joined([part.logits for part in parts], empty),
        _joined([part.stated for part in parts], empty.astype(np.float64)),
        np.concatenate(features) if features else None,
    )
    return kept, skipped, joined


def _joined(parts: list[NDArray[Any]], empty: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate(parts) if parts else empty


def _proof(target: float, assessment: Assessment) -> Proof:
    without_errors = photos_needed(target)
    assert without_errors is not None  # no error is below any target
    return Proof(target, without_errors, photos_needed(target, 1 - assessment.scores.top1))


def _plain(share: np.float64) -> float | None:
    return None if np.isnan(share) else float(share)
