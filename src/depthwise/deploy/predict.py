"""From photos to answers, whatever computes the logits. Imports no torch."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from itertools import chain
from threading import Lock
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from depthwise.artifact import Card
from depthwise.config import default_workers
from depthwise.data.audit import Skipped
from depthwise.data.views import Photo, ViewKind, Views, read_views
from depthwise.deploy.decision import read_decision
from depthwise.deploy.stream import groups, in_order, live_groups
from depthwise.deploy.unknown import Features
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


@runtime_checkable
class FeatureEngine(Engine, Protocol):
    """What can also tell the features that logits are made of."""

    @property
    def has_features(self) -> bool:
        """Whether this network or file gives them."""

    def with_features(self, images: NDArray[np.uint8]) -> tuple[Logits, Features]:
        """Return logits, and the features (B, D) that they are made of."""


class Outputs(NamedTuple):
    """What a model says of some photos."""

    logits: Logits  # (B, K), of the single view
    stated: NDArray[np.float64]  # (B, K), probabilities: averaged over the views
    features: Features | None  # (B, D), of the single view; None unless they are asked for


@dataclass(frozen=True)
class Score:
    """A class and its probability."""

    label: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """The answer for one photo; or, with `error`, why there is none."""

    path: str
    """As it was given; '' for a photo given as bytes or pixels."""
    label: str | None = None
    """The answer: the most probable class, unless the file's rule for decisions prefers another."""
    probability: float | None = None
    """Its probability, in [0, 1]."""
    top: tuple[Score, ...] = ()
    """The most probable classes, in falling order."""
    rejected: bool = False
    """True when the model says that the photo shows none of its classes, or that it is not sure enough."""
    reason: str | None = None
    """Why it is rejected; of a photo that could not be used, its code (one of `data.decode.REASONS`, or no_number)."""
    single_view: Score | None = None
    """With several views: the answer to the single one."""
    error: str | None = None
    """Why the photo could not be used."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values, as the command line prints them."""
        values = asdict(self) | {"top": [asdict(score) for score in self.top]}
        if self.single_view is None:
            del values["single_view"]
        return values


def _name(photo: Photo) -> str:
    return str(photo) if isinstance(photo, str | os.PathLike) else ""


def _no_number(name: str) -> Prediction:
    return Prediction(name, reason="no_number", error="the model's answer is no number: its weights are broken")


class Classifier:
    """A model ready to answer: `Classifier.predict("photo.jpg")`. Made by `depthwise.load`."""

    def __init__(self, engine: Engine, views: ViewKind = "1", *, is_concurrent: bool = False) -> None:
        """`views`: of which views of a photo the probabilities are averaged (`data.views`).

        `is_concurrent`: several threads may call the engine at a time; else they take turns.
        Raises UserError when the file's rule for decisions does not fit, or needs features that the engine has not.
        """
        self.engine, self.views = engine, views
        self.turn = nullcontext() if is_concurrent else Lock()
        self.decision = read_decision(engine.card)
        has_features = isinstance(engine, FeatureEngine) and engine.has_features
        self.feature_engine = cast(FeatureEngine, engine) if has_features else None
        if self.decision.needs_features and not has_features:
            raise UserError(
                "this file's rule for unknown photos needs the network's features, which it does not give; export the "
                "model again: depthwise export RUN --out model.onnx"
            )

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names."""
        return self.engine.card.classes

    def predict(self, photo: Photo, top_k: int = 5) -> Prediction:
        """Return the answer for one photo: its path, the bytes of its file, or pixels, uint8 (H, W, 3) in RGB order.

        Raises UnusablePicture, with the reason, when it cannot be used.
        """
        seen = self.read(photo)
        if isinstance(seen, Skipped):
            raise UnusablePicture(seen.reason, f"{seen.path}: {seen.detail}")
        return self._answers([_name(photo)], [seen], top_k)[0]

    def read(self, photo: Photo) -> Views | Skipped:
        """Return what the network sees of a photo, or why it cannot be used."""
        return read_views(photo, self.engine.card.geometry, self.views)

    def predict_many(
        self, photos: Iterable[Photo], top_k: int = 5, *, workers: int | None = None, is_live: bool = False
    ) -> Iterator[Prediction]:
        """Yield an answer per photo, in their order; one that cannot be read is an answer with `error`.

        `workers` threads (default: one per processor) each read some photos and answer for them, never all at once.
        `is_live`: photos come one by one; answer what there is instead of waiting for more.
        """
        workers = max(1, default_workers() if workers is None else workers)

        def answer(some: list[Photo]) -> list[Prediction]:
            pictures = [self.read(photo) for photo in some]
            usable = [(_name(n), p) for n, p in zip(some, pictures, strict=True) if not isinstance(p, Skipped)]
            answers = iter(self._answers([n for n, _ in usable], [p for _, p in usable], top_k))
            return [
                Prediction(_name(photo), reason=pixels.reason, error=pixels.detail)
                if isinstance(pixels, Skipped)
                else next(answers)
                for photo, pixels in zip(some, pictures, strict=True)
            ]

        grouped = live_groups(photos, BATCH) if is_live else groups(photos, BATCH)
        yield from chain.from_iterable(in_order(answer, grouped, workers))

    def outputs(self, pictures: Sequence[Views], *, wants_features: bool = False) -> Outputs:
        """Return what the model says of one photo or more. Any thread may ask."""
        with self.turn:
            return self._outputs(pictures, wants_features=wants_features)

    def _outputs(self, pictures: Sequence[Views], *, wants_features: bool) -> Outputs:
        features, single = None, np.stack([views.single for views in pictures])
        if wants_features or self.decision.needs_features:
            assert self.feature_engine is not None
            logits, features = self.feature_engine.with_features(single)
        else:
            logits = self.engine.logits(single)
        if logits.shape != (len(single), len(self.classes)):
            raise UserError(
                f"the model file is damaged: it names {len(self.classes)} classes and gives {logits.shape[-1]} logits"
            )
        if self.views == "1":
            return Outputs(logits, self._probabilities(logits), features)
        crops = np.concatenate([views.averaged for views in pictures])
        parts = [self.engine.logits(crops[start : start + BATCH]) for start in range(0, len(crops), BATCH)]
        stated = self._probabilities(np.concatenate(parts)).reshape(len(pictures), -1, logits.shape[1])
        return Outputs(logits, stated.mean(axis=1), features)

    def _probabilities(self, logits: Logits) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore"):  # what is no number is told as such
            return softmax(logits / np.float32(self.engine.card.temperature))

    def _answers(self, names: list[str], pictures: list[Views], top_k: int) -> list[Prediction]:
        if top_k < 1:
            raise UserError(f"top_k={top_k}: ask for at least 1 class")
        if not pictures:
            return []
        found = self.outputs(pictures)
        is_number = [bool(np.isfinite(row).all()) for row in np.concatenate([found.stated, found.logits], axis=1)]
        if not all(is_number):  # no rule for answers may see them: below every threshold is not sure
            usable = [place for place, is_one in enumerate(is_number) if is_one]
            answers = iter(self._answers([names[i] for i in usable], [pictures[i] for i in usable], top_k))
            return [next(answers) if one else _no_number(name) for name, one in zip(names, is_number, strict=True)]
        numbers, reasons = self.decision.decide(self.classes, found.stated, found.logits, found.features)
        single = self._single_views(found.logits)
        return [
            Prediction(
                path=name,
                label=self.classes[number],
                probability=float(row[number]),
                top=tuple(Score(self.classes[i], float(row[i])) for i in np.argsort(-row, kind="stable")[:top_k]),
                rejected=reason is not None,
                reason=reason,
                single_view=view,
            )
            for name, row, number, reason, view in zip(names, found.stated, numbers, reasons, single, strict=True)
        ]

    def _single_views(self, logits: Logits) -> list[Score | None]:
        if self.views == "1":
            return [None] * len(logits)
        rows = self._probabilities(logits)
        return [Score(self.classes[row.argmax()], float(row.max())) for row in rows]
