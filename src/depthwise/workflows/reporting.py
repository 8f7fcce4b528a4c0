"""`depthwise report`: all that a page tells of a run, gathered; `depthwise.report` draws it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from depthwise.artifact import Card
from depthwise.config import TrainConfig
from depthwise.console import Quiet
from depthwise.data.index import Index, Record
from depthwise.data.split import SPLITS
from depthwise.deploy.predict import Engine
from depthwise.errors import UserError
from depthwise.metrics import Assessment
from depthwise.workflows.answered import Measured, measure
from depthwise.workflows.examples import Augmented, Example, add_heat, augmented, least_certain, surest_mistakes
from depthwise.workflows.loading import load
from depthwise.workflows.run_folder import RunFolder, find_model
from depthwise.workflows.run_history import History, RunFile, read_files, read_history
from depthwise.workflows.test_reads import TestReads, record_read
from depthwise.workflows.training_data import shown_as


class Cost(NamedTuple):
    """What a network costs; None where only its file in another format is at hand."""

    params: int | None
    macs: int | None


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """What a run came to: enough to compare it with others."""

    model: Path
    """The model file that was evaluated."""
    split: str
    """The pictures that it was evaluated on: valid or test."""
    history: History
    measured: Measured
    assessment: Assessment
    cost: Cost
    reads: TestReads | None = None
    """How often these test pictures were looked at, this time included; None for others."""

    @property
    def kind(self) -> str:
        """What these photos are to the model: validation, test, new, or given, where that is not known."""
        own = {"valid": "validation"}.get(self.split, self.split)
        return {"run": own, "new": "new", "unknown": "given"}[self.measured.origin]

    @property
    def card(self) -> Card:
        """What the model file says of itself."""
        return self.measured.classifier.engine.card

    @property
    def name(self) -> str:
        """What to call the run: its folder, or the file where that is no run's."""
        return self.model.resolve().parent.name if self.model.name == "best.safetensors" else self.model.name

    @property
    def best_epoch(self) -> int | None:
        """The epoch whose weights the model file has; 0: they are of the stage before, where no epoch beat them."""
        training = self.card.training
        frozen = training.get("config", {}).get("freeze", "none")
        return 0 if frozen != self.settings.get("freeze", frozen) else training.get("epoch")

    @property
    def settings(self) -> dict[str, Any]:
        """All settings by name; those of the model file where the run folder has none."""
        flat: dict[str, Any] = {}
        for name, value in (self.history.config or {"train": self.card.training.get("config", {})}).items():
            if isinstance(value, dict):
                prefix = "" if name == "train" else f"{name} "
                flat |= {f"{prefix}{key}".replace("_", " "): inner for key, inner in value.items()}
            else:
                flat[name] = value
        return flat


@dataclass(frozen=True, kw_only=True)
class RunReport(RunSummary):
    """All that a page tells of one run."""

    mistakes: tuple[Example, ...]
    """The surest ones."""
    doubts: tuple[Example, ...]
    """The least certain answers."""
    no_heat: str
    """Why it is not shown where the network looked; '' when it is."""
    augmented: tuple[Augmented, ...]
    counts: dict[str, dict[str, int]]
    """Pictures of the run by class and split; empty without a splits.csv."""
    findings: tuple[str, ...]
    """What there is to say of the data."""
    files: tuple[RunFile, ...]


def summarise(
    run: str | Path,
    *,
    test: bool = False,
    data: str | Path | None = None,
    factory: str | None = None,
    device: str = "auto",
    workers: int | None = None,
    console: Quiet | None = None,
) -> RunSummary:
    """Evaluate a run (or a model file) on its validation pictures, with `test` on its test pictures.

    `data`: the pictures, for a model file without a splits.csv beside it. Raises UserError.
    """
    model, split = find_model(run), "test" if test else "valid"
    classifier = load(model, device, factory)
    found = measure(model, classifier, data, split, workers=workers, console=console)
    return RunSummary(
        model=model,
        split=split,
        history=read_history(RunFolder(model.parent)),
        measured=found,
        assessment=found.assess(),
        cost=_cost(classifier.engine),
        reads=record_read(model, found) if test else None,
    )


def gather(run: str | Path, **options: Any) -> RunReport:
    """Summarise a run, with the same options, and look for what else there is to show. Raises UserError."""
    summary = summarise(run, **options)
    found, folder = summary.measured, RunFolder(summary.model.parent)
    mistakes, no_heat = add_heat(found.classifier.engine, surest_mistakes(found))
    index = found.used
    return RunReport(
        **vars(summary),
        mistakes=tuple(mistakes),
        doubts=tuple(least_certain(found)),
        no_heat=no_heat,
        augmented=_augmented(index, summary.card, folder),
        counts=_counts(index),
        findings=findings_of(index),
        files=read_files(folder),
    )


def _augmented(index: Index | None, card: Card, folder: RunFolder) -> tuple[Augmented, ...]:
    """Return training photos as the network was shown them; none where it was not shown photos, or they are gone."""
    settings = _settings(card)
    if index is None or settings is None or settings.freeze == "backbone":
        return ()
    there = [record for record in index.part("train") if record.path.is_file()]
    return tuple(augmented(there, card, settings, folder.path)) if there else ()


def _settings(card: Card) -> TrainConfig | None:
    """Return the settings of the training, as far as this version knows them; None for weights of other makers."""
    given: dict[str, Any] = card.training.get("config", {})
    known = {field.name for field in fields(TrainConfig)}
    kept: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in given.items() if n in known}
    return shown_as(TrainConfig(**kept), card.training) if kept else None


def _counts(index: Index | None) -> dict[str, dict[str, int]]:
    if index is None:
        return {}
    found = Counter((record.label, record.split) for record in index.records)
    return {name: {split: found[name, split] for split in SPLITS} for name in index.classes}


def findings_of(index: Index | None) -> tuple[str, ...]:
    """Return what the manifest shows: groups, and whether anything lies on two sides."""
    if index is None:
        return ()
    groups = Counter(record.group for record in index.records if record.group)
    found = []
    if groups:
        found.append(
            f"{len(groups):,} groups of look-alikes or of pictures kept together, {groups.total():,} pictures in them; "
            f"the largest has {max(groups.values()):,}."
        )
    for what, key in (("copies of a file", "hash"), ("pictures of one group", "group")):
        torn = _on_several_sides(index.records, key)
        found.append(
            f"{torn:,} times {what} are in several splits: what is measured on them means less."
            if torn
            else f"No {what} are in several splits."
        )
    return tuple(found if groups else found[:1])


def _on_several_sides(records: Sequence[Record], key: str) -> int:
    sides: dict[str, set[str]] = {}
    for record in records:
        if value := getattr(record, key):
            sides.setdefault(value, set()).add(record.split)
    return sum(len(found) > 1 for found in sides.values())


def _cost(engine: Engine) -> Cost:
    from depthwise.deploy.eager import EagerEngine  # it brings torch
    from depthwise.models.summary import summary

    if not isinstance(engine, EagerEngine):
        return Cost(None, None)
    geometry = engine.card.geometry
    try:
        rows = summary(engine.model, geometry.image_size, geometry.channels)
    except UserError:  # a network of one's own may not run on the meta device
        return Cost(sum(p.numel() for p in engine.model.parameters()), None)
    return Cost(sum(row.params for row in rows), sum(row.macs for row in rows))
