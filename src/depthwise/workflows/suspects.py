"""`depthwise audit --model`: pictures that a model trained on others of the same data finds strange."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthwise.console import Quiet, shown
from depthwise.data.audit import Skipped
from depthwise.data.cache import read_all
from depthwise.data.findings import Finding
from depthwise.data.index import Index, Record, real_places
from depthwise.errors import UserError
from depthwise.metrics import softmax
from depthwise.workflows.loading import load
from depthwise.workflows.run_folder import RunFolder, find_model

BATCH = 128
SURE = 0.8
DEVIATIONS = 5.0
"""Robust standard deviations below the median from which on a picture is like nothing else."""
Matrix = NDArray[np.float64]


def suspects(
    model: str | Path, records: Sequence[Record], *, workers: int, console: Quiet, factory: str | None = None
) -> list[Finding]:
    """Return the likely mislabelled, by held-out loss, worst first, and the outliers among `records`.

    Pictures that the model was trained on are passed over (by path and content): it has learned their labels by heart.
    Raises UserError when none is left, or a class is unknown to the model.
    """
    path = find_model(model)
    classifier = load(path, "auto", factory)
    card = classifier.engine.card
    classes = card.classes
    if unknown := sorted({record.label for record in records} - set(classes)):
        raise UserError(
            f"{path} does not know the class {', '.join(map(repr, unknown))}; give the model of these photos"
        )
    used = RunFolder(path.parent).read_split(card, console)
    if used is None:
        console.warn("what the model was trained on is not known here: it may know some of these photos by heart")
    held_out = _held_out(used, records)
    kept: list[Record] = []
    parts: list[Matrix] = []
    shown_pictures = console.track(read_all(held_out, card.geometry, workers), len(held_out), "Asking the model")
    while chunk := list(islice(shown_pictures, BATCH)):
        usable = [(record, pixels) for record, pixels in chunk if not isinstance(pixels, Skipped)]
        if usable:
            kept += [record for record, _ in usable]
            parts.append(np.asarray(classifier.engine.logits(np.stack([p for _, p in usable])), np.float64))
    if not kept:
        raise UserError(f"{path} was trained on all of these photos: there is nothing that it can judge")
    logits = np.concatenate(parts)
    labels = np.array([classes.index(record.label) for record in kept])
    return [*_mislabelled(kept, logits, labels, classes), *_outliers(kept, logits)]


def _held_out(used: Index | None, records: Sequence[Record]) -> list[Record]:
    if used is None:
        return list(records)
    trained = used.part("train")
    known = {*real_places(record.place for record in trained), *(record.hash for record in trained if record.hash)}
    places = real_places(record.place for record in records)
    return [r for r, place in zip(records, places, strict=True) if place not in known and r.hash not in known]


def confident_classes(probabilities: Matrix, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each picture the class that the model is confident of, -1 where there is none.

    Confident learning (Northcutt et al. 2021, arXiv:1911.00068, equations 1 and 2): of the classes whose probability
    reaches the mean that pictures labelled so have, the most probable. Not from the paper: 0.8 of that mean is enough,
    or half of the wrong labels among pictures as clear as the others would pass. probabilities (N, K), labels (N,).
    """
    num_classes = probabilities.shape[1]
    thresholds = np.array(
        [probabilities[labels == k, k].mean() if (labels == k).any() else np.inf for k in range(num_classes)]
    )
    reached = np.where(probabilities >= SURE * thresholds, probabilities, -1.0)
    return np.where(reached.max(axis=1) >= 0, reached.argmax(axis=1), -1)


def _mislabelled(
    records: Sequence[Record], logits: Matrix, labels: NDArray[np.int64], classes: Sequence[str]
) -> list[Finding]:
    probabilities = softmax(logits.astype(np.float32))
    confident = confident_classes(probabilities, labels)
    loss = -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12))
    chosen = [int(i) for i in np.argsort(-loss, kind="stable") if confident[i] not in (-1, labels[i])]
    return [
        Finding(
            "mislabelled",
            (records[i].path,),
            (records[i].label,),
            f"loss {loss[i]:.2f}; the model says {shown(classes[confident[i]])} ({probabilities[i, confident[i]]:.0%})",
        )
        for i in chosen
    ]


def _outliers(records: Sequence[Record], logits: Matrix) -> list[Finding]:
    """Return pictures of low score log sum exp of the logits (Liu et al. 2020, arXiv:2010.03759, equation 4)."""
    peak = logits.max(axis=1)
    score = peak + np.log(np.exp(logits - peak[:, None]).sum(axis=1))
    middle = np.median(score)
    deviation = 1.4826 * np.median(np.abs(score - middle)) + 1e-9
    far = (middle - score) / deviation
    return [
        Finding("outlier", (records[i].path,), (records[i].label,), f"{far[i]:.1f} deviations below the median")
        for i in map(int, np.argsort(-far, kind="stable"))
        if far[i] > DEVIATIONS
    ]
