"""Photos that a report shows: mistakes, doubts, where the network looked, and what augmentation makes of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from depthwise.artifact import Card
from depthwise.config import TrainConfig
from depthwise.console import Quiet
from depthwise.data.cache import load as load_pictures
from depthwise.data.index import Record
from depthwise.data.loader import epoch_batches
from depthwise.deploy.predict import Engine
from depthwise.errors import UserError
from depthwise.workflows.answered import Measured
from depthwise.workflows.explaining import Explanation, explain_with

MOST = 12
"""Mistakes and doubts that are shown; the rest is counted."""
NUM_AUGMENTED, NUM_EPOCHS = 6, 4
"""Training photos that are shown as the network sees them, and in how many epochs, from first to last."""


@dataclass(frozen=True)
class Example:
    """One photo and its answer."""

    path: Path
    label: str
    """Its class."""
    answer: str
    probability: float
    """Of the answer, as the model states it."""
    own_probability: float
    """Of its class."""
    heat: Explanation | None = None
    """Where the network sees the answer."""


class Augmented(NamedTuple):
    """A training photo, and what the network was shown of it in some epochs."""

    label: str
    plain: NDArray[np.uint8]  # (S', S', C), as training kept it: up to 8/7 of what the network takes
    shown: tuple[NDArray[np.uint8], ...]  # (S, S, C), one for each of these epochs


def surest_mistakes(found: Measured) -> list[Example]:
    """Return the wrong answers that were stated with most certainty."""
    stated = found.outputs.stated
    answers = stated.argmax(axis=1)
    wrong = np.flatnonzero(answers != found.labels)
    return _examples(wrong[np.argsort(-stated[wrong, answers[wrong]], kind="stable")], found)


def least_certain(found: Measured) -> list[Example]:
    """Return the answers whose two highest probabilities are closest together, right or wrong."""
    highest = np.partition(found.outputs.stated, -2, axis=1)[:, -2:]
    return _examples(np.argsort(highest[:, 1] - highest[:, 0], kind="stable"), found)


def _examples(order: NDArray[np.intp], found: Measured) -> list[Example]:
    classes, examples = found.classifier.classes, []
    for index in order[:MOST]:
        record, row, own = found.records[index], found.outputs.stated[index], int(found.labels[index])
        answer = int(row.argmax())
        examples.append(Example(record.path, record.label, classes[answer], float(row[answer]), float(row[own])))
    return examples


def add_heat(engine: Engine, examples: Sequence[Example]) -> tuple[list[Example], str]:
    """Return the examples with where the network sees its answer; or without, and why it cannot be told."""
    from depthwise.deploy.eager import EagerEngine  # it brings torch

    if not isinstance(engine, EagerEngine):
        return list(examples), "an exported file keeps no maps, so it cannot be told where the network looked"
    try:
        return [replace(item, heat=explain_with(engine, item.path, item.answer)) for item in examples], ""
    except UserError as error:
        return list(examples), str(error)


def augmented(records: Sequence[Record], card: Card, config: TrainConfig, folder: Path) -> list[Augmented]:
    """Return some of the training records as the network was shown them; those that cannot be read are left out.

    They are decoded at the side that training kept them at: parts that were cut out are as sharp as they were then.
    """
    each_once = replace(config, class_balance="none")  # a sampler draws some twice and others not at all
    chosen = [records[number * len(records) // NUM_AUGMENTED] for number in range(min(NUM_AUGMENTED, len(records)))]
    loading = partial(load_pictures, stored_size=card.training.get("stored_size"), workers=1, console=Quiet())
    with loading(chosen, card.classes, card.geometry, folder=folder) as (few, _):
        if not len(few):
            return []
        last = config.epochs - 1
        numbers = sorted({round(last * step / (NUM_EPOCHS - 1)) for step in range(NUM_EPOCHS)})
        epochs = [
            {
                number: image
                for batch in epoch_batches(few, each_once, epoch=epoch, workers=0)
                for number, image in zip(batch.ids.tolist(), batch.images, strict=True)
            }
            for epoch in numbers
        ]
        return [
            Augmented(record.label, image, tuple(epoch[number] for epoch in epochs))
            for record, image, number in zip(few.records, few.images.copy(), few.ids.tolist(), strict=True)
        ]
