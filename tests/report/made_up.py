"""Runs that nobody trained: answers drawn at random, for pages of every kind."""

from pathlib import Path

import numpy as np

from depthwise.artifact import Card
from depthwise.data.geometry import Geometry
from depthwise.data.index import Record
from depthwise.deploy.predict import Classifier, Outputs
from depthwise.metrics import assess, softmax
from depthwise.workflows.answered import Measured
from depthwise.workflows.examples import Augmented, least_certain, surest_mistakes
from depthwise.workflows.reporting import Cost, RunReport, RunSummary
from depthwise.workflows.run_history import History, RunFile


class Said:
    """An engine that has said everything already."""

    def __init__(self, card):
        self.card = card

    def logits(self, images):
        raise AssertionError("a page asks no model")


def made_up_measured(classes, *, num_images=60, seed=0, skill=2.0, split="valid", missing=(), decision=None):
    rng = np.random.default_rng(seed)
    there = [number for number, name in enumerate(classes) if name not in missing]
    labels = np.array([there[number % len(there)] for number in range(num_images)], np.int64)
    logits = np.random.default_rng(seed + 1).normal(size=(num_images, len(classes))).astype(np.float32)
    logits[np.arange(num_images), labels] += rng.normal(skill, 1, num_images).astype(np.float32)
    config = {"epochs": 3, "lr": 0.1}
    training = {"config": config, "epoch": 2}
    card = Card(
        "model",
        "lenet5",
        {},
        False,
        tuple(classes),
        Geometry(8, 1, "squash"),
        training,
        calibration={"temperature": 0.5},
        decision=decision.to_json() if decision else {},
    )
    records = tuple(
        Record(f"/photos/{number}.png", classes[label], split, f"{number:032x}") for number, label in enumerate(labels)
    )
    outputs = Outputs(logits, softmax(logits / np.float32(0.5)), None)
    return Measured(Classifier(Said(card)), records, labels, outputs, ())


def made_up_history(num_epochs=3, num_asked=3, **settings):
    rows = tuple(
        {
            "epoch": e,
            "step": 4 * e,
            "lr": 0.1 / e,
            "train_loss": 2 / e,
            "valid_loss": 2.5 / e,
            "valid_top1": 1 - 1 / (e + 1),
        }
        | {"valid_top5": 1.0, "num_train_images": 9, "num_valid_images": 9}
        for e in range(1, num_epochs + 1)
    )
    timings = {row["epoch"]: {"epoch": row["epoch"], "train_s": 1.5, "valid_s": 0.5} for row in rows}
    config = {"model": "lenet5", "train": {"epochs": num_asked, "lr": 0.1} | settings, "machine": {"threads": 1}}
    start = {
        "command": "depthwise train photos --out run",
        "started": "2026-01-01T00:00:00Z",
        "machine": {"device": "cpu"},
        "environment": {"Python": "3.11"},
        "notes": ["13 pairs of near duplicates"],
        "num_skipped": 1,
        "skipped": [{"path": "/photos/broken.png", "error": "cut short"}],
    }
    return History(rows, timings, {}, (start,), config)


def made_up_summary(classes, *, history=None, name="run", split="valid", **how):
    measured = made_up_measured(classes, split=split, **how)
    return RunSummary(
        model=Path(f"/runs/{name}/best.safetensors"),
        split=split,
        history=made_up_history() if history is None else history,
        measured=measured,
        assessment=assess(measured.outputs.logits, measured.labels, temperature=0.5, drawings=50),
        cost=Cost(1234, 5678),
    )


def made_up_report(classes, **how):
    summary = made_up_summary(classes, **how)
    image = np.zeros((8, 8, 1), np.uint8)
    return RunReport(
        **vars(summary),
        mistakes=tuple(surest_mistakes(summary.measured)),
        doubts=tuple(least_certain(summary.measured)),
        no_heat="an exported file keeps no maps",
        augmented=(Augmented(classes[0], image, (image, image)),),
        counts={name: {"train": 5, "valid": 2, "test": 1} for name in classes},
        findings=("No copies of a file are in several splits.",),
        files=(RunFile("best.safetensors", 1000, "ab" * 32),),
    )
