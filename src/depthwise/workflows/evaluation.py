"""`depthwise evaluate`: how good a model is on pictures that it was not trained on."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from depthwise.console import Quiet
from depthwise.data.audit import Skipped
from depthwise.data.views import ViewKind
from depthwise.deploy.engine import Choice
from depthwise.deploy.outcome import Outcome
from depthwise.errors import UserError
from depthwise.metrics import Assessment, Scores, photos_needed
from depthwise.metrics.assessment import listed
from depthwise.metrics.intervals import MOST_PHOTOS
from depthwise.workflows.answered import measure
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
    is_proved: bool
    """Whether the photos here prove it: the interval of top-1 ends above 1 - target."""


@dataclass(frozen=True)
class Evaluation:
    """How a model did on one split."""

    split: str
    """Which pictures: train, valid, test or all."""
    classes: tuple[str, ...]
    """Their names; the place is the number of the class."""
    assessment: Assessment
    """Accuracy, loss, confusion, and what is told of each class, with intervals."""
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
    choice: Choice | None = None,
    trust_code: bool = False,
    workers: int | None = None,
    console: Quiet | None = None,
) -> Evaluation:
    """Return how `model` (a run folder or model file) does on one split of `data` (default: what it was trained with).

    The split that training used decides. `views` are averaged beside the single one; `image_size` replaces the
    network's; `choice` and `trust_code` are `load`'s. Each reading of a run's test photos is noted in
    RUN/test_reads.jsonl. Raises UserError when `data` would evaluate on pictures that the run trained on or chose its
    best epoch by (unless `allow_other_split`), or when the classes differ.
    """
    _check_target(target_error)
    path = find_model(model)
    options: dict[str, Any] = {"image_size": image_size, "views": views, "choice": choice, "trust_code": trust_code}
    classifier = load(path, device, factory, **options, work="many", console=console)
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
        proof=None if target_error is None else proof_of(target_error, assessment),
        reads=record_read(path, found) if split == "test" else None,
    )


def _check_target(target: float | None) -> None:
    """Raise UserError for an error rate that is none, or that needs more photos than anybody has."""
    if target is None:
        return
    if not 0 < target < 1:
        raise UserError(f"--target-error {target:g}: a share of wrong answers above 0 and below 1, like 0.01")
    if photos_needed(target) is None:
        raise UserError(
            f"--target-error {target:g}: not even {MOST_PHOTOS:,} photos without a mistake prove so small a share; ask "
            "for a larger one, like 0.001"
        )


def proof_of(target: float, assessment: Assessment) -> Proof:
    """Return how many photos would prove an error rate of at most `target`, in (0, 1), as `evaluate` takes it."""
    without_errors, interval = photos_needed(target), assessment.intervals["top1"]
    assert without_errors is not None
    assert interval is not None  # a share has one
    as_here = photos_needed(target, 1 - assessment.scores.top1)
    return Proof(target, without_errors, as_here, is_proved=interval.low >= 1 - target)


def _plain(share: np.float64) -> float | None:
    return None if np.isnan(share) else float(share)
