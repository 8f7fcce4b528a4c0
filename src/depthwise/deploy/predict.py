"""From photos to answers, whatever computes the logits. Imports no torch."""

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from depthwise.artifact import Card
from depthwise.config import default_workers
from depthwise.data.audit import Skipped
from depthwise.data.cache import read_picture
from depthwise.data.decode import Pixels
from depthwise.deploy.stream import groups, in_order, live_groups
from depthwise.errors import UnusablePicture, UserError
from depthwise.metrics import Logits, softmax

BATCH = 8
"""Photos that one thread reads and answers for at a time: larger batches leave the processor's caches."""


class Engine(Protocol):
    """What computes logits."""

    @property
    def card(self) -> Card:
        """Classes, geometry and the rest of the model file's metadata."""

    def logits(self, images: NDArray[np.uint8]) -> Logits:
        """Return float32 (B, K) for uint8 (B, S, S, C)."""


@dataclass(frozen=True)
class Score:
    """A class and its probability."""

    label: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """The answer for one photo; or, with `error`, why there is none."""

    path: str
    label: str | None = None
    """The most probable class."""
    probability: float | None = None
    """Its probability, in [0, 1]."""
    top: tuple[Score, ...] = ()
    """The most probable classes, in falling order."""
    rejected: bool = False
    """True when the model says that the photo shows none of its classes."""
    error: str | None = None
    """Why the photo could not be used."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values, as the command line prints them."""
        return asdict(self) | {"top": [asdict(score) for score in self.top]}


class Classifier:
    """A model ready to answer: `Classifier.predict("photo.jpg")`. Made by `depthwise.load`."""

    def __init__(self, engine: Engine, *, is_concurrent: bool = False) -> None:
        """`is_concurrent`: several threads may call the engine at a time."""
        self.engine, self.is_concurrent = engine, is_concurrent

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names."""
        return self.engine.card.classes

    def predict(self, photo: str | Path, top_k: int = 5) -> Prediction:
        """Return the answer for one photo. Raises UnusablePicture, with the reason, when it cannot be read."""
        pixels = read_picture(Path(photo), self.engine.card.geometry)
        if isinstance(pixels, Skipped):
            raise UnusablePicture(pixels.reason, f"{pixels.path}: {pixels.detail}")
        return self._answers([str(photo)], [pixels], top_k)[0]

    def predict_many(
        self, photos: Iterable[str | Path], top_k: int = 5, *, workers: int | None = None, is_live: bool = False
    ) -> Iterator[Prediction]:
        """Yield an answer per photo, in their order; one that cannot be read is an answer with `error`.

        `workers` threads (default: one per processor) each read some photos and answer for them, never all at once.
        `is_live`: photos come one by one; answer what there is instead of waiting for more.
        """
        workers = max(1, default_workers() if workers is None else workers)
        turn = nullcontext() if self.is_concurrent else Lock()

        def answer(names: list[str | Path]) -> list[Prediction]:
            pictures = [read_picture(Path(name), self.engine.card.geometry) for name in names]
            usable = [(str(n), p) for n, p in zip(names, pictures, strict=True) if not isinstance(p, Skipped)]
            with turn:
                answers = iter(self._answers([n for n, _ in usable], [p for _, p in usable], top_k))
            return [
                Prediction(str(name), error=pixels.detail) if isinstance(pixels, Skipped) else next(answers)
                for name, pixels in zip(names, pictures, strict=True)
            ]

        grouped = live_groups(photos, BATCH) if is_live else groups(photos, BATCH)
        yield from chain.from_iterable(in_order(answer, grouped, workers))

    def _answers(self, names: list[str], pictures: list[Pixels], top_k: int) -> list[Prediction]:
        if top_k < 1:
            raise UserError(f"top_k={top_k}: ask for at least 1 class")
        if not pictures:
            return []
        probabilities = softmax(self.engine.logits(np.stack(pictures)) / np.float32(self.engine.card.temperature))
        answers = []
        for name, row in zip(names, probabilities, strict=True):
            best = np.argsort(-row, kind="stable")[:top_k]
            top = tuple(Score(self.classes[index], float(row[index])) for index in best)
            answers.append(Prediction(name, top[0].label, top[0].probability, top))
        return answers
