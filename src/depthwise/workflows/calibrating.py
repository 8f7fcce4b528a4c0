"""`depthwise calibrate`: the rule from probabilities to answers, set on the run's validation photos."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from depthwise import artifact
from depthwise.config import default_workers
from depthwise.console import Quiet
from depthwise.data.audit import Skipped
from depthwise.data.index import Record
from depthwise.deploy.decision import Decision
from depthwise.deploy.engine import SUFFIXES
from depthwise.deploy.outcome import Outcome, outcome
from depthwise.deploy.predict import Classifier
from depthwise.deploy.thresholds import set_miss_rule, set_precision_rule
from depthwise.deploy.unknown import Unknown
from depthwise.deploy.unknown_choice import GOOD, Part, choose_unknown
from depthwise.errors import UserError
from depthwise.workflows.answered import Measured, compute, measure
from depthwise.workflows.chosen_photos import choose_photos
from depthwise.workflows.loading import load
from depthwise.workflows.run_folder import find_model

MOST_TRAINING = 5000
"""Training photos that show what is known: more make means and covariance hardly surer."""


class Wishes(NamedTuple):
    """What the rule should reach; None: as it was."""

    positive: str | None = None
    max_miss_rate: float | None = None
    min_precision: float | None = None
    reject_rate: float | None = None


@dataclass(frozen=True)
class CalibrationResult:
    """A rule, and what it does on the validation photos that it was set on."""

    path: Path
    decision: Decision
    outcome: Outcome
    refused: Unknown | None
    """The best score for unknown photos where it was not good enough to be stored."""
    skipped: tuple[Skipped, ...] = ()
    """Pictures that could not be used."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values, without the reference of a distance."""
        values = self.decision.to_json()
        if self.decision.unknown:
            values["unknown"] = replace(self.decision.unknown, reference=None).to_json()
        refused = replace(self.refused, reference=None).to_json() if self.refused else None
        return {
            "path": str(self.path),
            "decision": values,
            "valid": self.outcome.to_json(),
            "refused": refused,
            "skipped": [{"path": str(s.path), "reason": s.reason, "error": s.detail} for s in self.skipped],
        }


def calibrate(
    model: str | Path,
    *,
    positive: str | None = None,
    max_miss_rate: float | None = None,
    min_precision: float | None = None,
    reject_rate: float | None = None,
    clear: bool = False,
    factory: str | None = None,
    workers: int | None = None,
    console: Quiet | None = None,
) -> CalibrationResult:
    """Set the rule of a run's model on its validation photos, and store it in the model file; weights stay as they are.

    What is None stays as it was set before, unless `clear` drops it. The class `positive` may be missed in the share
    `max_miss_rate`; `min_precision` of each class's answers that are kept are right; `reject_rate` of known photos may
    be rejected as unknown. An unknown answer is stored only where some score
    tells classes that are left out with a mean AUROC of GOOD. Raises UserError for wishes that make no sense.
    """
    console, path = console or Quiet(), find_model(model)
    if path.suffix in SUFFIXES:
        raise UserError(f"{path} is exported; calibrate the run that it was made from, then export again")
    classifier = load(path, "auto", factory)
    card = classifier.engine.card
    wishes = Wishes(positive, max_miss_rate, min_precision, reject_rate)
    wishes = _checked(wishes, Decision() if clear else classifier.decision, card.classes, clear=clear)
    wants_features = (classifier.feature_engine is not None) and wishes.reject_rate is not None
    valid = measure(path, classifier, None, "valid", workers=workers, console=console, wants_features=wants_features)
    unknown, skipped = None, list(valid.skipped)
    if wishes.reject_rate is not None:
        unknown = _choose(classifier, path, valid, wishes, workers, console, skipped)
    is_good = unknown is not None and unknown.auroc[unknown.kind] >= GOOD
    decision = replace(_thresholds(valid, wishes), unknown=unknown if is_good else None)
    answers, reasons = decision.decide(card.classes, valid.outputs.stated, valid.outputs.logits, valid.outputs.features)
    artifact.rewrite_card(path, replace(card, decision=decision.to_json()))
    found = outcome(decision, card.classes, answers, reasons, valid.labels, valid.groups)
    return CalibrationResult(path, decision, found, None if is_good else unknown, tuple(skipped))


def _checked(wishes: Wishes, old: Decision, classes: Sequence[str], *, clear: bool) -> Wishes:
    """Return the wishes with those from before filled in. Raises UserError for what makes no sense."""
    if (wishes.positive is None) != (wishes.max_miss_rate is None):
        raise UserError(
            "--positive CLASS and --max-miss-rate R belong together: which class, and how many may be missed"
        )
    if wishes.positive is not None and wishes.positive not in classes:
        raise UserError(f"--positive {wishes.positive}: no such class; there are {', '.join(classes)}")
    for name in ("max_miss_rate", "min_precision", "reject_rate"):
        value = getattr(wishes, name)
        if value is not None and not 0 < value < 1:
            raise UserError(f"--{name.replace('_', '-')} {value:g}: a share above 0 and below 1, like 0.02")
    if not clear and not any(value is not None for value in wishes):
        raise UserError(
            "nothing to set: give --positive CLASS --max-miss-rate R, --min-precision P or --reject-rate R, "
            "or drop what was set by --clear"
        )
    before = {
        "positive": old.miss.label if old.miss else None,
        "max_miss_rate": old.miss.max_miss_rate if old.miss else None,
        "min_precision": old.precision[0].min_precision if old.precision else None,
        "reject_rate": old.unknown.reject_rate if old.unknown else None,
    }
    named = {name: value for name, value in wishes._asdict().items() if value is not None}
    return Wishes(**(before | named))


def _thresholds(valid: Measured, wishes: Wishes) -> Decision:
    stated, labels, classes, groups = valid.outputs.stated, valid.labels, valid.classifier.classes, valid.groups
    decision = Decision()
    if wishes.positive is not None and wishes.max_miss_rate is not None:
        number = classes.index(wishes.positive)
        decision = Decision(set_miss_rule(stated, labels, wishes.positive, number, wishes.max_miss_rate, groups))
    if wishes.min_precision is None:
        return decision
    answers, _ = decision.decide(classes, stated, valid.outputs.logits, None)
    rules = []
    for number, label in enumerate(classes):
        is_answer = answers == number
        is_right = (labels == number)[is_answer]
        named = None if groups is None else np.array(groups)[is_answer]
        rules.append(set_precision_rule(stated[is_answer, number], is_right, label, wishes.min_precision, named))
    return replace(decision, precision=tuple(rules))


def _choose(
    classifier: Classifier,
    path: Path,
    valid: Measured,
    wishes: Wishes,
    workers: int | None,
    console: Quiet,
    skipped: list[Skipped],
) -> Unknown:
    """Return the best score for unknown photos; training pictures that cannot be used are added to `skipped`."""
    assert wishes.reject_rate is not None
    if len(classifier.classes) < 3:
        console.warn("with two classes, leaving one out leaves one: the AUROC of the scores says little")
    train, lost = _training_part(classifier, path, workers, console)
    skipped += lost
    outputs = valid.outputs
    return choose_unknown(train, Part(outputs.logits, outputs.features, valid.labels), wishes.reject_rate)


def _training_part(
    classifier: Classifier, path: Path, workers: int | None, console: Quiet
) -> tuple[Part, list[Skipped]]:
    """Return what the model says of training photos, from all over their order, and those that cannot be used."""
    card = classifier.engine.card
    chosen = choose_photos(path, card, None, "train", allow_other_split=False, console=Quiet())
    ordered = sorted(chosen.records, key=lambda record: record.hash)
    records: list[Record] = ordered[:MOST_TRAINING]
    wants = classifier.feature_engine is not None
    kept, skipped, outputs = compute(
        classifier,
        records,
        default_workers() if workers is None else workers,
        console,
        wants_features=wants,
        label="Computing features",
    )
    labels = np.array([card.classes.index(record.label) for record in kept], np.int64)
    return Part(outputs.logits, outputs.features, labels), skipped
