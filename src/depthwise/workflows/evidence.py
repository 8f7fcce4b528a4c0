"""A model and its exported file answer the same photos: what is compared, and what is refused."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthwise.artifact import Card
from depthwise.console import Quiet
from depthwise.data.audit import Skipped
from depthwise.data.cache import read_all
from depthwise.data.decode import decode
from depthwise.data.geometry import apply
from depthwise.data.index import Index, Record, read_index, real_places
from depthwise.data.views import Views
from depthwise.deploy.outcome import Outcome
from depthwise.deploy.predict import Classifier, Engine, FeatureEngine
from depthwise.deploy.verify import GOLDEN, TOLERANCE, Comparison, compare, noise, odd_sized, pack_golden
from depthwise.errors import UserError
from depthwise.metrics import Logits
from depthwise.workflows.answered import Measured, joined
from depthwise.workflows.run_folder import RunFolder

MAX_PHOTOS = 512
"""More photos would not make the comparison more certain."""
MAX_ANY_SIZE = 16
"""Photos that also go through the file in their own size."""
NUM_NOISE = 16
BATCH = 32
LISTED = 5


@dataclass(frozen=True)
class Pictures:
    """What a model and its exported file are asked."""

    images: NDArray[np.uint8]
    """(N, S, S, C)"""
    labels: NDArray[np.int64] | None
    """(N,); None where the classes are not the model's, or unknown."""
    records: tuple[Record, ...]
    """Where they are from; none: noise."""

    @property
    def names(self) -> list[str]:
        """What to call them in a message."""
        return [str(r.path) for r in self.records] or [f"noise {place}" for place in range(len(self.images))]


@dataclass(frozen=True)
class Photos:
    """Where photos come from, and what the model's run used them for."""

    index: Index
    used: Index | None
    """The split of the run; None where it is not known."""

    def part(self, name: str) -> tuple[Record, ...]:
        """Return the photos of one part: as they say themselves, else as the run said.

        Of photos without a split that are new to the run, every other one of each class is for each. Raises UserError
        when there are none: INT8's ranges are learnt from training photos, and judged by others.
        """
        before, records = self.used.records if self.used else (), self.index.records
        said = dict(zip(real_places(r.place for r in before), [r.split for r in before], strict=True))
        places = real_places(record.place for record in records)
        parts = [record.split or said.get(place, "") for record, place in zip(records, places, strict=True)]
        if not any(parts):
            records = tuple(sorted(records, key=lambda record: (record.label, record.hash, record.place)))
            parts = ["train" if number % 2 else "valid" for number in range(len(records))]
        found = tuple(record for record, its in zip(records, parts, strict=True) if its == name)
        if not found:
            what = "training" if name == "train" else "validation"
            raise UserError(
                f"{self.index.source} has no photos for {what}: --int8 is calibrated on training photos alone, and "
                "judged by those for validation. Give photos with both parts by --data, or leave --data out to use "
                "the run's own"
            )
        return found


def find_photos(model: Path, card: Card, data: str | Path | None, console: Quiet) -> Photos | None:
    """Return the photos of `data`, else of the run's split; None when there is neither."""
    used = RunFolder(model.parent).read_split(card, console)
    index = read_index(Path(data)) if data else used
    return Photos(index, used) if index else None


def validation_pictures(
    card: Card, photos: Photos | None, workers: int, console: Quiet, *, only_valid: bool = False
) -> Pictures:
    """Return MAX_PHOTOS validation photos, without `only_valid` of all, where none are for validation.

    Noise where there are no photos. Raises UserError where no photo can be used.
    """
    if photos is None:
        console.warn(f"no photos at hand: comparing on {NUM_NOISE} pictures of noise; give photos by --data")
        return noise_pictures(card)
    found = photos.part("valid") if only_valid else photos.index.part("valid") or photos.index.records
    wanted = sorted(found, key=lambda record: (record.hash, str(record.path)))
    return read_pictures(card, wanted[:MAX_PHOTOS], photos.index.source, workers, console)


def noise_pictures(card: Card) -> Pictures:
    """Return NUM_NOISE pictures of noise."""
    return Pictures(noise(NUM_NOISE, card.geometry.image_size, card.geometry.channels), None, ())


def read_pictures(card: Card, wanted: Sequence[Record], source: Path, workers: int, console: Quiet) -> Pictures:
    """Return these photos, without those that cannot be read. Raises UserError when none can."""
    kept, pictures = [], []
    for record, pixels in console.track(read_all(wanted, card.geometry, workers), len(wanted), "Reading"):
        if not isinstance(pixels, Skipped):
            kept.append(record)
            pictures.append(pixels)
    if not pictures:
        raise UserError(f"{source}: no photo in it can be used")
    known = all(record.label in card.classes for record in kept)
    labels = np.array([card.classes.index(r.label) for r in kept], np.int64) if known else None
    return Pictures(np.stack(pictures), labels, tuple(kept))


def logits_of(engine: Engine, images: NDArray[np.uint8]) -> Logits:
    """Return the engine's answers to any number of pictures."""
    parts = [engine.logits(images[start : start + BATCH]) for start in range(0, len(images), BATCH)]
    return np.concatenate(parts)


def refuse_differing(comparison: Comparison, names: Sequence[str], name: str) -> None:
    """Raise UserError with the names of the photos whose answers differ, if any."""
    if comparison.is_passed:
        return
    photos = [names[place] for place in comparison.differing]
    more = f"\n  and {len(photos) - LISTED} more" if len(photos) > LISTED else ""
    listing = "".join(f"\n  {photo}" for photo in photos[:LISTED])
    raise UserError(
        f"the exported {name} does not compute what the model does, so it was not written: {len(photos)} of "
        f"{comparison.num_images} pictures differ, by up to {comparison.max_probability_difference:.2g} (allowed: "
        f"{TOLERANCE:g}):{listing}{more}"
    )


def refuse_other_features(engine: FeatureEngine, exported: FeatureEngine, pictures: Pictures) -> None:
    """Raise UserError when the features, by which unknown photos are told, are there and not the model's."""
    if not exported.has_features:
        return
    before, after = (one.with_features(pictures.images[:BATCH])[1] for one in (engine, exported))
    apart = float(np.abs(before - after).max() / max(float(np.abs(before).max()), 1e-12))
    if not apart <= TOLERANCE:
        raise UserError(
            f"the exported {engine.card.model} gives other features than the model does, so it was not written: they "
            f"differ by {apart:.2g} of the largest (allowed: {TOLERANCE:g})"
        )


def compare_own_size(engine: Engine, exported: Engine, pictures: Pictures) -> Comparison:
    """Compare photos, and noise of another size, that go into the file as they are with the same, resized in `engine`.

    Raises UserError when they differ.
    """
    geometry, step = engine.card.geometry, max(1, len(pictures.records) // MAX_ANY_SIZE)
    records = pictures.records[::step][:MAX_ANY_SIZE]
    odd = odd_sized(geometry.image_size, geometry.channels)
    whole = [odd, *(decode(record.path, geometry.channels)[None] for record in records)]
    resized = [apply(odd[0], geometry), *pictures.images[::step][: len(records)]]
    before = np.concatenate([engine.logits(image[None]) for image in resized])
    after = np.concatenate([exported.logits(image) for image in whole])
    comparison = compare(before, after, engine.card.temperature, None)
    names = ["noise of another size", *(str(record.path) for record in records)]
    refuse_differing(comparison, names, f"{engine.card.model} with its resizing")
    return comparison


def rule_outcome(engine: Engine, pictures: Pictures) -> Outcome | None:
    """Return what the file's rule for decisions does with these pictures; None without a rule, or without classes."""
    classifier = Classifier(engine)
    if classifier.decision.is_empty or pictures.labels is None:
        return None
    views = [Views(image, image[None]) for image in pictures.images]
    parts = [classifier.outputs(views[start : start + BATCH]) for start in range(0, len(views), BATCH)]
    outputs = joined(parts, len(classifier.classes))
    return Measured(classifier, pictures.records, pictures.labels, outputs, ()).decide()


def pack_pictures(engine: Engine, pictures: Pictures, *, resizes: bool) -> dict[str, Any]:
    """Return what travels along in a file: pictures of different classes as far as there are, and `engine`'s logits.

    With `resizes` one that is not of the network's size, too.
    """
    chosen = pictures.images[_of_different_classes(pictures)]
    found: dict[str, Any] = {"golden": pack_golden(list(chosen), engine.logits(chosen))}
    if resizes:
        odd = odd_sized(engine.card.geometry.image_size, engine.card.geometry.channels)
        found["golden_resized"] = pack_golden(list(odd), engine.logits(apply(odd[0], engine.card.geometry)[None]))
    return found


def _of_different_classes(pictures: Pictures) -> list[int]:
    if pictures.labels is None:
        return list(range(min(GOLDEN, len(pictures.images))))
    first_of_class = {int(label): place for place, label in reversed(list(enumerate(pictures.labels)))}
    return sorted(islice(first_of_class.values(), GOLDEN))
