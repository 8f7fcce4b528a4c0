"""`depthwise evaluate`: how good a model is on pictures that it was not trained on."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from depthwise.config import default_workers
from depthwise.console import Quiet
from depthwise.data.audit import Skipped, check_share
from depthwise.data.cache import read_all
from depthwise.data.index import Index, Record, read_index
from depthwise.deploy.engine import Choice
from depthwise.deploy.predict import Classifier
from depthwise.errors import UserError
from depthwise.metrics import Logits, Scores, calibration_error, recall_precision, score, softmax
from depthwise.workflows.loading import load
from depthwise.workflows.run_folder import RunFolder, find_model

BATCH = 128


@dataclass(frozen=True)
class Evaluation:
    """How a model did on one split."""

    split: str
    classes: tuple[str, ...]
    scores: Scores
    calibration_error: float
    """Of the probabilities that the model states, in [0, 1] (see `metrics.calibration_error`)."""
    skipped: tuple[Skipped, ...]
    """Pictures that could not be used; they are not counted in the scores."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values, as the command line prints them."""
        recall, precision = recall_precision(self.scores.confusion)
        per_class = [
            {
                "label": name,
                "num_images": int(self.scores.confusion[number].sum()),
                "recall": float(recall[number]),
                "precision": None if np.isnan(precision[number]) else float(precision[number]),
            }
            for number, name in enumerate(self.classes)
        ]
        return {
            "split": self.split,
            "top1": self.scores.top1,
            "top5": self.scores.top5,
            "loss": self.scores.loss,
            "calibration_error": self.calibration_error,
            "num_images": self.scores.num_images,
            "classes": per_class,
            "confusion": self.scores.confusion.tolist(),
            "skipped": [{"path": os.fspath(s.path), "reason": s.reason, "error": s.detail} for s in self.skipped],
        }


def evaluate(
    model: str | Path,
    data: str | Path | None = None,
    split: str = "test",
    *,
    allow_other_split: bool = False,
    factory: str | None = None,
    device: str = "auto",
    choice: Choice | None = None,
    workers: int | None = None,
    console: Quiet | None = None,
) -> Evaluation:
    """Return how `model` (a run folder or model file) does on one split of `data` (default: what it was trained with).

    The split that training used decides. Raises UserError when `data` would evaluate on pictures that the run trained
    on or chose its best epoch by (unless `allow_other_split`), or when the classes differ.
    """
    console, workers = console or Quiet(), default_workers() if workers is None else workers
    path = find_model(model)
    classifier = load(path, device, factory, choice, is_large=True)
    card = classifier.engine.card
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
    if not allow_other_split:
        _refuse_known([r.path for r in records], {r.path: r.split for r in used.records} if used else {}, split)
    known = {r.hash: r.split for r in used.records if r.hash} if used and not allow_other_split else {}
    logits, kept, skipped = _compute(classifier, records, workers, console)
    check_share(skipped, len(records))
    _refuse_known([record.hash for record in kept], known, split)
    labels = np.array([card.classes.index(record.label) for record in kept], np.int64)
    stated = softmax(logits / np.float32(card.temperature))
    return Evaluation(split, card.classes, score(logits, labels), calibration_error(stated, labels), tuple(skipped))


def _compute(
    classifier: Classifier, records: Sequence[Record], workers: int, console: Quiet
) -> tuple[Logits, list[Record], list[Skipped]]:
    """Return logits (N, K) of the pictures that can be used, their records with hashes, and the others."""
    kept: list[Record] = []
    skipped: list[Skipped] = []
    parts: list[Logits] = []
    pictures = read_all(records, classifier.engine.card.geometry, workers)
    shown = console.track(pictures, len(records), "Evaluating")
    while chunk := list(islice(shown, BATCH)):
        skipped += [pixels for _, pixels in chunk if isinstance(pixels, Skipped)]
        usable = [(record, pixels) for record, pixels in chunk if not isinstance(pixels, Skipped)]
        if usable:
            kept += [record for record, _ in usable]
            parts.append(classifier.engine.logits(np.stack([pixels for _, pixels in usable])))
    return np.concatenate(parts) if parts else np.empty((0, len(classifier.classes)), np.float32), kept, skipped


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
    paths = {record.path for record in index.records}
    ours = tuple(record for record in used.part(split) if record.path in paths) if used else ()
    if ours:
        console.say(f"Using the run's own split: {len(ours):,} {split} pictures of {index.source}.")
        return ours
    if index.is_split or any(record.path in paths for record in (used.records if used else ())):
        raise UserError(f"{index.source} has no pictures in the split {split!r}")
    console.say(f"{index.source} has no split and is new to the model: evaluating all {len(index.records):,} pictures.")
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
