"""A model and its exported file answer the same photos: what is compared, and what is refused."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthwise.artifact import Card
from depthwise.console import Quiet
from depthwise.data.audit import Skipped
from depthwise.data.cache import read_all
from depthwise.data.decode import decode
from depthwise.data.index import Record, read_index, real_places
from depthwise.deploy.predict import Engine, FeatureEngine
from depthwise.deploy.verify import GOLDEN, TOLERANCE, Comparison, compare, noise
from depthwise.errors import UserError
from depthwise.metrics import Logits
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

    def name(self, place: int) -> str:
        """Return what to call a picture in a message."""
        return str(self.records[place].path) if self.records else f"noise {place}"


def manifest_of(model: Path, data: str | Path | None) -> Path | None:
    """Return where photos are: `data`, else the run's split; None when there is neither."""
    manifest = Path(data) if data else RunFolder(model.parent).splits
    return manifest if data or manifest.exists() else None


def validation_pictures(
    card: Card, manifest: Path | None, workers: int, console: Quiet, *, judges: Path | None = None
) -> Pictures:
    """Return MAX_PHOTOS validation photos (of all, where none are for validation); noise where there are no photos.

    `judges`: the model whose INT8 form they are to judge; then photos for validation only. Raises UserError without.
    """
    if manifest is None:
        console.warn(f"no photos at hand: comparing on {NUM_NOISE} pictures of noise; give photos by --data")
        return Pictures(noise(NUM_NOISE, card.geometry.image_size, card.geometry.channels), None, ())
    index = read_index(manifest)
    found = _of_part(judges, manifest, "valid") if judges else index.part("valid") or index.records
    wanted = sorted(found, key=lambda record: (record.hash, str(record.path)))
    return read_pictures(card, wanted[:MAX_PHOTOS], manifest, workers, console)


def training_records(model: Path, manifest: Path) -> tuple[Record, ...]:
    """Return the photos that INT8's ranges may be learnt from. Raises UserError when there are none."""
    return _of_part(model, manifest, "train")


def _of_part(model: Path, manifest: Path, part: str) -> tuple[Record, ...]:
    """Return the photos of one part: as `manifest` says, else as the run of `model` said.

    Of photos without a split that are new to the run, every other one of each class is for each. Raises UserError when
    there are none: ranges are learnt from training photos, and judged by others.
    """
    index, splits = read_index(manifest), RunFolder(model.parent).splits
    before = read_index(splits).records if splits.exists() else ()
    used = dict(zip(real_places(r.place for r in before), [r.split for r in before], strict=True))
    places = real_places(record.place for record in index.records)
    parts = [record.split or used.get(place, "") for record, place in zip(index.records, places, strict=True)]
    records = index.records
    if not any(parts):
        records = tuple(sorted(records, key=lambda record: (record.label, record.hash, record.place)))
        parts = ["train" if number % 2 else "valid" for number in range(len(records))]
    found = tuple(record for record, its in zip(records, parts, strict=True) if its == part)
    if not found:
        what = "training" if part == "train" else "validation"
        raise UserError(
            f"{manifest} has no photos for {what}: --int8 is calibrated on training photos alone, and judged by those "
            "for validation. Give photos with both parts by --data, or leave --data out to use the run's own"
        )
    return found


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


def refuse_differing(comparison: Comparison, pictures: Pictures, name: str) -> None:
    """Raise UserError with the photos whose answers differ, if any."""
    if comparison.is_passed:
        return
    photos = [pictures.name(place) for place in comparison.differing]
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


def compare_own_size(engine: Engine, exported: Engine, pictures: Pictures) -> Comparison | None:
    """Compare photos that go into the file as they are with the same ones, resized before, in `engine`.

    None without photos. Raises UserError when they differ.
    """
    step = max(1, len(pictures.records) // MAX_ANY_SIZE)
    some = Pictures(pictures.images[::step][:MAX_ANY_SIZE], None, pictures.records[::step][:MAX_ANY_SIZE])
    if not some.records:
        return None
    card = engine.card
    before = np.concatenate([engine.logits(image[None]) for image in some.images])
    after = [exported.logits(decode(record.path, card.geometry.channels)[None]) for record in some.records]
    comparison = compare(before, np.concatenate(after), card.temperature, None)
    refuse_differing(comparison, some, f"{card.model} with its resizing")
    return comparison


def golden_places(pictures: Pictures) -> list[int]:
    """Return places of pictures of different classes, as far as there are, to travel along."""
    if pictures.labels is None:
        return list(range(min(GOLDEN, len(pictures.images))))
    first_of_class = {int(label): place for place, label in reversed(list(enumerate(pictures.labels)))}
    return sorted(islice(first_of_class.values(), GOLDEN))
