"""`depthwise export` and `depthwise verify`: no file leaves that was not compared with the model on photos."""

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from depthwise import files
from depthwise.config import default_workers
from depthwise.console import Quiet
from depthwise.data.audit import Skipped
from depthwise.data.cache import read_all
from depthwise.data.decode import decode
from depthwise.data.index import Record, read_index
from depthwise.deploy.engine import OnnxEngine
from depthwise.deploy.verify import (
    GOLDEN,
    TOLERANCE,
    Comparison,
    check_golden,
    compare,
    fingerprint,
    noise,
    pack_golden,
)
from depthwise.errors import UserError, require
from depthwise.workflows.evaluation import Evaluation, evaluate
from depthwise.workflows.loading import load
from depthwise.workflows.run_folder import RunFolder, find_model

if TYPE_CHECKING:
    from depthwise.deploy.eager import EagerEngine

MAX_PHOTOS = 512
"""More photos would not make the comparison more certain."""
MAX_ANY_SIZE = 16
"""Photos that also go through the file in their own size."""
NUM_NOISE = 16
BATCH = 32
LISTED = 5


@dataclass(frozen=True)
class ExportResult:
    """An exported file and the evidence that it computes what the model does."""

    path: Path
    num_bytes: int
    comparison: Comparison
    is_on_photos: bool
    """False where there were no photos at hand: compared on noise."""
    evidence: Path
    """JSON beside the file."""


def export(
    model: str | Path,
    out: str | Path,
    data: str | Path | None = None,
    *,
    fixed_size: bool = False,
    overwrite: bool = False,
    factory: str | None = None,
    workers: int | None = None,
    console: Quiet | None = None,
) -> ExportResult:
    """Write `model` (a run folder or model file) as the ONNX file `out`, compared with it on validation photos.

    Photos: the split `valid` of `data`, else of the run; without any, noise, and said so. `fixed_size` leaves the
    resizing out of the graph. Raises UserError, and writes nothing, when answers differ: with the photos that do.
    """
    require("onnxscript", "train", "exporting to ONNX")
    from depthwise.deploy.eager import EagerEngine
    from depthwise.deploy.export import describe, to_onnx

    console, workers, out = console or Quiet(), default_workers() if workers is None else workers, Path(out)
    _check_target(out, overwrite=overwrite)
    path = find_model(model)
    engine = load(path, "cpu", factory).engine
    if not isinstance(engine, EagerEngine):
        raise UserError(f"{path} is exported already; give the run folder or the model file that it was made from")
    console.say(f"Exporting {engine.card.model}")
    proto = to_onnx(engine.model, engine.card, takes_any_size=not fixed_size)
    pictures, labels, records = _pictures(engine, path, data, workers, console)
    before = _logits(engine, pictures)
    exported = OnnxEngine(describe(proto, engine.card, {}), str(out))
    comparison = compare(before, _logits(exported, pictures), engine.card.temperature, labels)
    _refuse_differing(comparison, records, engine.card.model)
    if exported.has_features:
        _refuse_other_features(engine, exported, pictures[:BATCH])
    own_size = None if fixed_size else _compare_own_size(engine, exported, records)
    evidence = _evidence(path, comparison, own_size, len(records))
    chosen = _golden_places(labels, len(pictures))
    golden = pack_golden([pictures[i] for i in chosen], before[chosen])
    whole = describe(proto, engine.card, {"verification": evidence, "golden": golden})
    files.write_whole(out, whole)
    beside = out.with_suffix(".verification.json")
    files.write_whole(beside, (json.dumps(evidence | {"sha256": fingerprint(whole)}, indent=1) + "\n").encode())
    return ExportResult(out, len(whole), comparison, bool(records), beside)


def _check_target(out: Path, *, overwrite: bool) -> None:
    if out.suffix != ".onnx":
        raise UserError(f"--out {out}: the name of an exported file ends in .onnx")
    if out.exists() and not overwrite:
        raise UserError(f"{out} exists; choose another --out, or replace it with --overwrite")


def _evidence(path: Path, comparison: Comparison, own_size: Comparison | None, num_photos: int) -> dict[str, Any]:
    """Return what was compared, of which model file, by what."""
    return {
        "photos": num_photos,
        "comparison": comparison.to_json(),
        "own_size": own_size.to_json() if own_size else None,
        "model_sha256": fingerprint(path.read_bytes()),
        "machine": {"processor": platform.machine(), "system": platform.system()},
        "versions": {name: version(name) for name in ("depthwise", "torch", "onnx", "onnxscript", "onnxruntime")},
    }


def _pictures(
    engine: "EagerEngine", path: Path, data: str | Path | None, workers: int, console: Quiet
) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None, list[Record]]:
    """Return pictures (N, S, S, C), their classes' numbers, and their records; noise where there are no photos."""
    card = engine.card
    manifest = Path(data) if data else RunFolder(path.parent).splits
    if data is None and not manifest.exists():
        console.warn(f"no photos at hand: comparing on {NUM_NOISE} pictures of noise; give photos by --data")
        return noise(NUM_NOISE, card.geometry.image_size, card.geometry.channels), None, []
    index = read_index(manifest)
    wanted = sorted(index.part("valid") or index.records, key=lambda record: (record.hash, str(record.path)))
    kept, pictures = [], []
    shown = console.track(
        read_all(wanted[:MAX_PHOTOS], card.geometry, workers), min(len(wanted), MAX_PHOTOS), "Reading"
    )
    for record, pixels in shown:
        if not isinstance(pixels, Skipped):
            kept.append(record)
            pictures.append(pixels)
    if not pictures:
        raise UserError(f"{manifest}: no photo in it can be used")
    known = all(record.label in card.classes for record in kept)
    labels = np.array([card.classes.index(r.label) for r in kept], np.int64) if known else None
    return np.stack(pictures), labels, kept


def _logits(engine: Any, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    parts = [engine.logits(pictures[start : start + BATCH]) for start in range(0, len(pictures), BATCH)]
    return np.concatenate(parts)


def _refuse_differing(comparison: Comparison, records: Sequence[Record], name: str) -> None:
    if comparison.is_passed:
        return
    photos = [str(records[place].path) if records else f"noise {place}" for place in comparison.differing]
    more = f"\n  and {len(photos) - LISTED} more" if len(photos) > LISTED else ""
    listing = "".join(f"\n  {photo}" for photo in photos[:LISTED])
    raise UserError(
        f"the exported {name} does not compute what the model does, so it was not written: {len(photos)} of "
        f"{comparison.num_images} pictures differ, by up to {comparison.max_probability_difference:.2g} (allowed: "
        f"{TOLERANCE:g}):{listing}{more}"
    )


def _refuse_other_features(engine: "EagerEngine", exported: OnnxEngine, pictures: NDArray[np.uint8]) -> None:
    """Raise UserError when the features, by which unknown photos are told, are not the model's."""
    before, after = (one.with_features(pictures)[1] for one in (engine, exported))
    apart = float(np.abs(before - after).max() / max(float(np.abs(before).max()), 1e-12))
    if not apart <= TOLERANCE:
        raise UserError(
            f"the exported {engine.card.model} gives other features than the model does, so it was not written: they "
            f"differ by {apart:.2g} of the largest (allowed: {TOLERANCE:g})"
        )


def _compare_own_size(engine: "EagerEngine", exported: OnnxEngine, records: Sequence[Record]) -> Comparison | None:
    """Compare photos that go into the file as they are with the same ones resized before. Raises UserError."""
    if not records:
        return None
    some = records[:: max(1, len(records) // MAX_ANY_SIZE)][:MAX_ANY_SIZE]
    geometry = engine.card.geometry
    before = [
        engine.logits(pixels[None]) for _, pixels in read_all(some, geometry, 1) if not isinstance(pixels, Skipped)
    ]
    after = [exported.logits(decode(record.path, geometry.channels)[None]) for record in some]
    comparison = compare(np.concatenate(before), np.concatenate(after), engine.card.temperature, None)
    _refuse_differing(comparison, some, f"{engine.card.model} with its resizing")
    return comparison


def _golden_places(labels: NDArray[np.int64] | None, num_pictures: int) -> list[int]:
    """Return places of pictures of different classes, as far as there are."""
    if labels is None:
        return list(range(min(GOLDEN, num_pictures)))
    first_of_class = {int(label): place for place, label in reversed(list(enumerate(labels)))}
    return sorted(islice(first_of_class.values(), GOLDEN))


def verify(
    model: str | Path, data: str | Path | None = None, *, workers: int | None = None, console: Quiet | None = None
) -> tuple[float, Evaluation | None]:
    """Check an exported file on this machine, without torch: on the pictures in it, and on `data` if given.

    Returns the largest difference of a probability from what PyTorch computed when it was exported, and how it does on
    `data`'s test split (all of it where it has none). Raises UserError when the difference is above the tolerance.
    """
    path = Path(model)
    if path.suffix != ".onnx":
        raise UserError(f"{path}: verify takes an exported .onnx file; depthwise evaluate takes the others")
    engine = OnnxEngine(path)
    golden = engine.metadata.get("golden") or []
    if not golden:
        raise UserError(f"{path}: no pictures travelled along with it; export it again")
    worst = check_golden(engine, golden)
    if not worst <= TOLERANCE:
        raise UserError(
            f"{path} computes something else on this machine than where it was exported: probabilities differ by up to "
            f"{worst:.2g} (allowed: {TOLERANCE:g}). Do not use it here; update onnxruntime, or say so in an issue"
        )
    found = evaluate(path, data, workers=workers, console=console) if data else None
    return worst, found
