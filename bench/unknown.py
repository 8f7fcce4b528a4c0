"""How well photos of a class that nobody ever saw are rejected: networks trained on the embedded sample without it.

python bench/unknown.py [PLACE]   (with PLACE, runs stay there, and one that was stopped goes on)
"""

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import record

import depthwise as dw
from depthwise.console import Quiet
from depthwise.data.index import Record, read_index, write_manifest
from depthwise.data.sources import sample_photos
from depthwise.deploy.predict import Classifier, Outputs
from depthwise.deploy.unknown import ScoreKind, fit_reference, known_score
from depthwise.metrics import auroc, proportion_interval
from depthwise.workflows.answered import compute

CLASSES = ("ankle_boot", "shirt", "bag")
MODEL, EPOCHS, BATCH_SIZE, RATE = "mobilenet_v1_x0_25", 30, 32, 0.02


def main(place: Path) -> None:
    """Train a network without each class, set its rule, and show it the class."""
    settings = {"model": MODEL, "epochs": EPOCHS, "batch_size": BATCH_SIZE, "reject_rate": RATE, "seed": 0}
    rows = []
    with sample_photos() as photos:
        dw.split(photos, place / "all.csv", overwrite=True)
        records = read_index(place / "all.csv").records
        for held_out in CLASSES:
            rows.append(trial(held_out, records, place))
            record.write("unknown", settings | {"rows": rows})


def trial(held_out: str, records: Sequence[Record], place: Path) -> dict[str, Any]:
    """Return how photos of `held_out` (all of them) and test photos of the other classes fare."""
    manifest, run = place / f"without_{held_out}.csv", place / f"without_{held_out}"
    write_manifest(manifest, [r for r in records if r.label != held_out])
    config = dw.TrainConfig(model=MODEL, epochs=EPOCHS, batch_size=BATCH_SIZE)
    dw.train(manifest, run, config, threads=1, resume="auto")
    found = dw.calibrate(run, reject_rate=RATE)
    best = found.decision.unknown or found.refused
    assert best is not None
    classifier = dw.load(run)
    known = outputs(classifier, [r for r in records if r.split == "test" and r.label != held_out])
    unknown = outputs(classifier, [r for r in records if r.label == held_out])
    rejected, lost = (rejections(classifier, part) for part in (unknown, known))
    return {
        "held_out": held_out,
        "chosen": best.kind,
        "is_stored": found.refused is None,
        "auroc_left_out_in_turn": best.auroc,
        "auroc": aurocs(classifier, records, held_out, known, unknown),
        "rejected": summary(rejected),
        "lost": summary(lost),
    }


def outputs(classifier: Classifier, records: Sequence[Record]) -> Outputs:
    """Return what the model says of these photos."""
    return compute(classifier, records, 1, Quiet(), wants_features=True)[2]


def aurocs(
    classifier: Classifier, records: Sequence[Record], held_out: str, known: Outputs, unknown: Outputs
) -> dict[str, float]:
    """Return how well each score tells photos of the class from test photos of the others."""
    training = [r for r in records if r.split == "train" and r.label != held_out]
    seen = outputs(classifier, training)
    assert seen.features is not None
    reference = fit_reference(seen.features, np.array([classifier.classes.index(r.label) for r in training]))
    kinds: tuple[ScoreKind, ...] = get_args(ScoreKind)
    scores = {
        kind: [known_score(kind, part.logits, part.features, reference) for part in (known, unknown)] for kind in kinds
    }
    return {kind: round(auroc(*pair), 4) for kind, pair in scores.items()}


def rejections(classifier: Classifier, part: Outputs) -> list[bool]:
    """Return which photos the stored rule rejects."""
    rule = replace(classifier.decision, miss=None, precision=())
    reasons = rule.decide(classifier.classes, part.stated, part.logits, part.features)[1]
    return [reason is not None for reason in reasons]


def summary(rejected: Sequence[bool]) -> dict[str, Any]:
    """Return the count with its interval."""
    low, high = proportion_interval(sum(rejected), len(rejected))
    return {"hits": sum(rejected), "num": len(rejected), "interval": [round(low, 4), round(high, 4)]}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else folder))
