"""`depthwise recommend DATA`: the candidates tried on the user's photos, for as long as one may wait.

Successive halving (Jamieson & Talwalkar 2016, arXiv:1502.07943): all train for a few epochs, the better half goes on
to twice as many, and so on. A trial is an ordinary training run; what was tried is kept, so the same command goes on.
"""

import hashlib
import json
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from depthwise import files
from depthwise.config import TrainConfig, default_workers
from depthwise.console import Quiet, T
from depthwise.data.index import Record, read_index, write_manifest
from depthwise.errors import CannotWrite, Diverged, Interrupted, UserError
from depthwise.files import cache_folder
from depthwise.metrics import Interval, proportion_interval
from depthwise.models.weights.pretrained import PACKAGES
from depthwise.workflows.recommending import Choice, Published, Recommendation, rank
from depthwise.workflows.run_folder import RunFolder
from depthwise.workflows.training import train
from depthwise.workflows.training_data import split_index

CANDIDATES = 8
EPOCHS = (2, 4, 8, 16)
"""Epochs that a candidate has had after each rung."""
SIDE = 64
"""Largest side, px, of photos for networks that learn from nothing."""
PHOTOS = {"train": 1000, "valid": 1000}
"""At most so many are tried on."""


@dataclass(frozen=True)
class Trial:
    """How far a candidate came."""

    name: str
    weights: str
    """package: others' weights, of which the last layer is trained; none: it learns from nothing."""
    epochs: int
    valid_top1: float
    """Of its best epoch, in [0, 1]."""
    num_valid: int
    seconds: float
    """For all its epochs."""
    image_size: int

    @property
    def interval(self) -> Interval:
        """The 95 % interval for the accuracy that so many validation photos can tell."""
        return proportion_interval(round(self.valid_top1 * self.num_valid), self.num_valid)


@dataclass(frozen=True)
class Trials:
    """What the trial found, the best first."""

    ranked: tuple[Trial, ...]
    cut_short: dict[str, str]
    """Candidates that did not finish a rung, and why; those that are not in `ranked` have no result at all."""
    num_train: int
    num_valid: int
    minutes: float
    is_finished: bool
    """False where time was too short for one of them, so that the same command goes on."""
    folder: Path

    def to_json(self) -> dict[str, Any]:
        """Return plain values, as the command line prints them."""
        rows = [asdict(trial) | {"interval": list(trial.interval)} for trial in self.ranked]
        return asdict(self) | {"ranked": rows, "folder": str(self.folder)}


def candidates(found: Recommendation) -> list[Choice]:
    """Return whom to try of those within the budget: with packaged weights, unbeaten, then the most accurate."""
    fitting = [choice for choice in found.choices if choice.is_in_budget]
    first = sorted(fitting, key=lambda c: (c.name not in PACKAGES, not c.is_unbeaten, -c.published.top1))
    return first[:CANDIDATES]


def try_out(
    data: str | Path,
    choices: Sequence[Choice],
    *,
    minutes: float,
    workers: int | None = None,
    console: Quiet | None = None,
    kept_in: Path | None = None,
) -> Trials:
    """Train the candidates on `data`'s training photos and rank them by its validation photos, within `minutes`.

    Test photos are not touched; photos that are not there any more are left out. Raises UserError, and Interrupted on
    Ctrl-C or SIGTERM, with what was tried kept.
    """
    if not minutes > 0:
        raise UserError(f"--minutes {minutes:g}: need more than 0")
    console, workers = console or Quiet(), default_workers() if workers is None else workers
    index, _ = split_index(read_index(Path(data)), TrainConfig(), None, workers, console)
    chosen = [record for name, most in PHOTOS.items() for record in _some(index.part(name), most)]
    records = _there(chosen, console)
    folder = _folder(kept_in or cache_folder() / "trials", records)
    write_manifest(folder / "splits.csv", records)
    race = _Race(folder, time.monotonic() + 60 * minutes, workers, console)
    try:
        race.run(choices)
    except Interrupted as stop:
        told = f"Stopped: {len(race.trials)} candidates have a result, kept in {folder}.\nThe same command goes on."
        raise Interrupted(told, stop.signum) from stop
    ranked = sorted(race.trials.values(), key=lambda trial: (-trial.epochs, -trial.valid_top1))
    num_train, num_valid = (sum(record.split == name for record in records) for name in PHOTOS)
    return Trials(tuple(ranked), race.cut_short, num_train, num_valid, minutes, race.is_finished, folder)


def as_tried(found: Recommendation, trials: Trials) -> Recommendation:
    """Return the candidates with the trial's accuracy in place of the published one."""
    tried = {trial.name: trial for trial in trials.ranked}
    choices = [
        replace(choice, published=Published(100 * tried[choice.name].valid_top1, f"{tried[choice.name].epochs} epochs"))
        for choice in found.choices
        if choice.name in tried
    ]
    return replace(found, choices=tuple(rank(choices)))


def _some(records: Sequence[Record], most: int) -> Iterator[Record]:
    """Yield about `most` of the records, the same share of each class and one at least; always the same ones."""
    share = min(1.0, most / max(1, len(records)))
    by_class = sorted(records, key=lambda record: (record.label, hashlib.sha256(record.place.encode(*NAMES)).digest()))
    for _, group in groupby(by_class, key=lambda record: record.label):
        same = list(group)
        yield from same[: max(1, round(share * len(same)))]


NAMES = ("utf-8", "surrogateescape")


def _there(records: Sequence[Record], console: Quiet) -> list[Record]:
    """Return those whose file is there; name one of the others."""
    gone = {record.place for record in records if not record.path.is_file()}
    if gone:
        console.warn(f"{len(gone):,} of {len(records):,} photos are not there and are left out, such as {min(gone)}")
    return [record for record in records if record.place not in gone]


def _folder(root: Path, records: Sequence[Record]) -> Path:
    """Return the folder of the trials on exactly these photos, by these versions. Raises CannotWrite."""
    seen = [(r.place, r.label, r.split, (s := r.path.stat()).st_size, s.st_mtime_ns) for r in records]
    whole = json.dumps([seen, EPOCHS, SIDE, {name: version(name) for name in ("depthwise", "torch")}])
    folder = root / hashlib.sha256(whole.encode(*NAMES)).hexdigest()[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotWrite(f"cannot make {folder}: {error.strerror}; set DEPTHWISE_CACHE to another folder") from error
    return folder


class _TimeIsOver(Exception):
    """Raised in the middle of a training run, which is saved up to its last epoch."""


class _Watch(Quiet):
    """Lets a training run go on until its time is over."""

    def __init__(self, end: float) -> None:
        self.end = end

    def track(self, items: Iterable[T], total: int, label: str) -> Iterator[T]:
        for item in items:
            if time.monotonic() > self.end:
                raise _TimeIsOver
            yield item


def _work_left(rung: int, num_running: int, num_done: int) -> float:
    """Return all epochs still to train, by all candidates in all rungs, over those of one candidate in this rung."""
    steps = [last - first for first, last in pairwise((0, *EPOCHS))]
    work = steps[rung] * (num_running - num_done)
    for step in steps[rung + 1 :]:
        num_running = math.ceil(num_running / 2)
        work += step * num_running if num_running > 1 else 0
    return work / steps[rung]


class _Race:
    """The candidates on their way; `trials` has each one's last result, and is kept in a file."""

    def __init__(self, folder: Path, end: float, workers: int, console: Quiet) -> None:
        self.folder, self.end, self.workers, self.console = folder, end, workers, console
        self.file = folder / "trials.json"
        self.trials: dict[str, Trial] = {}
        self.cut_short: dict[str, str] = {}
        self.is_finished = True
        """Whether nobody's time was over."""

    def run(self, choices: Sequence[Choice]) -> None:
        """Run the rungs."""
        before, running = files.read_kept(self.file), list(choices)
        for rung, epochs in enumerate(EPOCHS):
            self.console.say(f"{len(running)} candidates, up to epoch {epochs}")
            for place, choice in enumerate(self.console.track(running, len(running), f"Epoch {epochs}")):
                share = (self.end - time.monotonic()) / _work_left(rung, len(running), place)
                key = f"{choice.name}, {choice.image_size} px, {epochs} epochs"
                trial = Trial(**before[key]) if key in before else self._train(choice, epochs, share)
                if trial is not None:
                    self.trials[choice.name] = trial
                    self._keep(key, trial)
            done = [choice for choice in running if self._epochs(choice) == epochs]
            best = sorted(done, key=lambda choice: -self.trials[choice.name].valid_top1)
            running = best[: math.ceil(len(best) / 2)]
            if len(running) < 2:
                return

    def _keep(self, key: str, trial: Trial) -> None:
        try:
            files.keep(self.file, {key: asdict(trial)})
        except CannotWrite as error:
            self.console.warn(f"{error}; the same command tries this again")

    def _epochs(self, choice: Choice) -> int:
        return self.trials[choice.name].epochs if choice.name in self.trials else 0

    def _train(self, choice: Choice, epochs: int, share_s: float) -> Trial | None:
        """Train a candidate up to so many epochs within its share of the time; None where that does not do."""
        is_packaged = choice.name in PACKAGES
        config = TrainConfig(
            model=choice.name,
            epochs=epochs,
            batch_size=32,
            image_size=choice.image_size if is_packaged else min(SIDE, choice.image_size),
            pretrained="package" if is_packaged else None,
            freeze="backbone" if is_packaged else "none",
        )
        run, started = RunFolder(self.folder / f"{choice.name} {choice.image_size}px"), time.monotonic()
        watch = _Watch(started + share_s)
        try:
            result = train(
                self.folder / "splits.csv", run.path, config, resume="auto", workers=self.workers, console=watch
            )
        except _TimeIsOver:
            self.is_finished = False
            self.cut_short[choice.name] = f"up to epoch {epochs} takes longer than its {share_s:,.0f} s"
            return None
        except (Diverged, UserError) as error:
            self.cut_short[choice.name] = str(error).splitlines()[0]
            return None
        row = json.loads(run.metrics.read_text(encoding="utf-8").splitlines()[-1])
        earlier = self.trials[choice.name].seconds if choice.name in self.trials else 0.0
        return Trial(
            choice.name,
            "package" if is_packaged else "none",
            epochs,
            result.best_top1,
            row["num_valid_images"],
            round(earlier + time.monotonic() - started, 1),
            config.image_size or choice.image_size,
        )
