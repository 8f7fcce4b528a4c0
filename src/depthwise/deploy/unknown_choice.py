"""Which score tells unknown photos best: each class is left out in turn and plays the unknown. NumPy only.

The head is fitted anew without the class. The features have learned with it, so that a class that nobody ever saw is
harder to tell than one left out here: `bench/unknown.py` trains whole networks without a class and says how much.
"""

from collections.abc import Sequence
from typing import NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from depthwise.deploy.unknown import Features, Reference, ScoreKind, Unknown, fit_reference, known_score
from depthwise.metrics import Labels, Logits, auroc, softmax

GOOD = 0.8
"""AUROC below which rejecting does more harm than good: at 2 % of the known, it finds hardly any of the unknown."""
CLEAR_LEAD = 0.05
"""AUROC by which another score must lead `distance`: trained features flatter those that go by logits most (bench)."""
MOST_PHOTOS = 2000
"""Training photos beyond which a head gains little here."""
MOST_CLASSES = 10
"""Classes that are left out at most: more make the mean no surer than the photos do."""
STEPS = 150


class Part(NamedTuple):
    """What the model says of one split."""

    logits: Logits  # (N, K)
    features: Features | None  # (N, D); None for a network without
    labels: Labels  # (N,)


class Trial(NamedTuple):
    """One score, one class left out."""

    auroc: float
    found_rate: float  # share of the class's photos below the threshold that the wanted share of the others is below


def choose_unknown(train: Part, valid: Part, reject_rate: float) -> Unknown:
    """Return the score with the highest mean AUROC, its threshold set on validation photos for `reject_rate` of them.

    A score of the logits must lead `distance` by CLEAR_LEAD. `auroc` says how good each is: below GOOD, do not use it.
    """
    kinds: Sequence[ScoreKind] = [k for k in get_args(ScoreKind) if k != "distance" or train.features is not None]
    trials: dict[ScoreKind, list[Trial]] = {kind: [] for kind in kinds}
    for number in _left_out(valid.labels):
        for kind, trial in _leave_out(int(number), train, valid, kinds, reject_rate).items():
            trials[kind].append(trial)
    means = {kind: float(np.mean([trial.auroc for trial in found])) for kind, found in trials.items()}
    kind = max(kinds, key=lambda name: means[name] + CLEAR_LEAD * (name == "distance"))
    reference = None
    if kind == "distance" and train.features is not None:
        reference = fit_reference(train.features, train.labels)
    scores = known_score(kind, valid.logits, valid.features, reference)
    threshold = threshold_for(scores, reject_rate)
    return Unknown(
        kind=kind,
        threshold=threshold,
        reject_rate=reject_rate,
        num_rejected=int((scores < threshold).sum()),
        num_images=len(scores),
        auroc={name: round(value, 4) for name, value in means.items()},
        worst_auroc=round(min(trial.auroc for trial in trials[kind]), 4),
        found_rate=round(float(np.mean([trial.found_rate for trial in trials[kind]])), 4),
        reference=reference,
    )


def threshold_for(scores: NDArray[np.float64], reject_rate: float) -> float:
    """Return a threshold that at most the share `reject_rate` of the scores (N,) lies below, a little below a score."""
    own = float(np.sort(scores)[int(reject_rate * len(scores) + 1e-9)])
    return own - 1e-4 * max(abs(own), 1e-4)  # another engine rounds otherwise


def fit_head(features: Features, labels: Labels, num_classes: int) -> NDArray[np.float64]:
    """Return weights (D + 1, K) of a logistic regression, the last row for a constant 1: for `apply_head`.

    Nesterov's accelerated gradient in full batches, with a small penalty; features are put to one scale before.
    """
    inputs = _with_one(features)
    wanted = np.eye(num_classes)[labels]
    rate = 1 / (_largest_square(inputs) / 2 / len(inputs) + 1e-3)
    weights = ahead = np.zeros((inputs.shape[1], num_classes))
    for step in range(STEPS):
        gradient = inputs.T @ (softmax((inputs @ ahead).astype(np.float32)) - wanted) / len(inputs) + 1e-3 * ahead
        following = ahead - rate * gradient
        ahead = following + step / (step + 3) * (following - weights)
        weights = following
    return weights


def apply_head(weights: NDArray[np.float64], features: Features) -> Logits:
    """Return logits (N, K) for features (N, D)."""
    logits: Logits = (_with_one(features) @ weights).astype(np.float32)
    return logits


def _left_out(labels: Labels) -> NDArray[np.int64]:
    """Return classes, from all over their order, of which there are photos, and photos of others."""
    present: NDArray[np.int64] = np.unique(labels)
    return present[:: -(-len(present) // MOST_CLASSES)] if len(present) > 2 else present


def _leave_out(
    number: int, train: Part, valid: Part, kinds: Sequence[ScoreKind], reject_rate: float
) -> dict[ScoreKind, Trial]:
    is_other = valid.labels != number
    logits, reference = _without(number, train, valid)
    found = {}
    for kind in kinds:
        scores = known_score(kind, logits, valid.features, reference)
        threshold = threshold_for(scores[is_other], reject_rate)
        found[kind] = Trial(auroc(scores[is_other], scores[~is_other]), float((scores[~is_other] < threshold).mean()))
    return found


def _without(number: int, train: Part, valid: Part) -> tuple[Logits, Reference | None]:
    """Return validation logits of a head that was fitted without the class, and a reference without it.

    Without features the class's logit is left out instead, which is kinder to the scores.
    """
    if train.features is None or valid.features is None:
        return np.delete(valid.logits, number, axis=1), None
    is_kept = train.labels != number
    features, labels = train.features[is_kept], train.labels[is_kept]
    every = -(-len(labels) // MOST_PHOTOS)
    scale, names = float(features.std()) or 1.0, np.unique(labels)
    head = fit_head(features[::every] / scale, np.searchsorted(names, labels[::every]), len(names))
    return apply_head(head, valid.features / scale), fit_reference(features, labels)


def _with_one(features: Features) -> NDArray[np.float64]:
    return np.column_stack([features.astype(np.float64), np.ones(len(features))])


def _largest_square(inputs: NDArray[np.float64]) -> float:
    """Return about the square of the largest singular value, by power iteration."""
    vector = np.ones(inputs.shape[1])
    for _ in range(30):
        vector = inputs.T @ (inputs @ vector)
        vector /= np.linalg.norm(vector)
    return 1.05 * float(np.linalg.norm(inputs @ vector) ** 2)
