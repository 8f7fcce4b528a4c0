"""What bench/results.py does for a row: plan the epochs, train, read the test pictures once, record."""

import json
import shlex
import shutil
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import record

import depthwise as dw
from depthwise import files
from depthwise.config import default_workers
from depthwise.console import Quiet
from depthwise.data.augment import resolve
from depthwise.data.index import read_index, write_manifest
from depthwise.metrics.intervals import proportion_interval
from depthwise.models.create import parse_options
from depthwise.models.registry import model_info
from depthwise.models.summary import summary_of
from depthwise.training.choice import Wish, choose
from depthwise.training.memory import keep_freed_memory
from depthwise.training.step import Task, build_step
from depthwise.workflows.recipes import read_recipe
from depthwise.workflows.run_folder import RunFolder
from depthwise.workflows.run_history import read_history
from depthwise.workflows.training_data import split_index
from depthwise.workflows.training_start import SMALL

if TYPE_CHECKING:
    from results import Row

PACKAGES = ("depthwise", "torch", "numpy", "numba")
NUM_CLASSES, NUM_CHANNELS = 10, 1
TIMED_S = 15.0
LAST_EPOCHS = 5
"""Validation accuracies that are kept, to tell how fast a run was still improving."""


def configure(row: "Row", epochs: int | None = None, seed: int = 0) -> dict[str, Any]:
    """Return what `depthwise.train` is asked for, beside the recipe's own settings."""
    settings = {"recipe": row.recipe, "model": row.network, **row.settings, "seed": seed}
    return settings if epochs is None else settings | {"epochs": epochs}


def settled(row: "Row") -> dw.TrainConfig:
    """Return the row's whole configuration; its epochs are the most that it may have."""
    wishes = configure(row, row.most_epochs)
    wishes.pop("recipe")
    return read_recipe(row.recipe).stages(wishes)[-1]


def task_of(row: "Row") -> Task:
    """Return what a training step of the row computes, as `depthwise train` will set it up."""
    config, spec = settled(row), model_info(row.network)
    size = config.image_size or spec.image_size
    options = {"small_input": spec.takes_small_input and size <= SMALL, **parse_options(spec, config.set)}
    small_input = options.pop("small_input")
    return Task(
        model=spec.name,
        num_classes=NUM_CLASSES,
        in_channels=NUM_CHANNELS,
        small_input=small_input,
        options=options,
        image_size=size,
        batch_size=config.batch_size,
    )


def costs(task: Task) -> dict[str, int]:
    """Return parameters, and multiply-adds for one picture."""
    options = {"small_input": task.small_input, **task.options}
    rows = summary_of(task.model, task.image_size, task.num_classes, task.in_channels, **options)
    return {"params": sum(layer.params for layer in rows), "macs": sum(layer.macs for layer in rows)}


def measure_speed(task: Task, num_images: int, console: Quiet) -> float:
    """Return how many pictures a second the training step takes, computed as in a run of `num_images`."""
    keep_freed_memory()  # as a run does: DenseNet's steps take twice as long without
    step = build_step(task, choose(task, Wish(), num_images, console).method)
    step()
    taken: list[float] = []
    started = time.perf_counter()
    while len(taken) < 3 or time.perf_counter() - started < TIMED_S:
        before = time.perf_counter()
        step()
        taken.append(time.perf_counter() - before)
    return task.batch_size / statistics.median(taken)


def plan_epochs(images_per_s: float, num_pictures: int, minutes: float, most: int) -> int:
    """Return the epochs that take about so many minutes, from 1 to `most`.

    85 % of the pictures are trained on in an epoch; validation, batch norm's statistics and the pictures' way to the
    network take about as long as the other 15 % would.
    """
    return max(1, min(most, round(60 * minutes * images_per_s / num_pictures)))


class Bench(NamedTuple):
    """Where the pictures and runs are, and what was asked for."""

    photos: Path
    runs: Path
    result: Path
    minutes: float | None
    """In place of the rows' own."""
    threads: int | None
    console: Quiet

    def request(self, row: "Row") -> dict[str, Any]:
        """Return what a plan, and what was run by it, holds for."""
        asked = {**configure(row), "set": list(row.settings.get("set", ())), "most_epochs": row.most_epochs}
        del asked["seed"]
        minutes = row.minutes if self.minutes is None else self.minutes
        shown = json.loads(json.dumps(asdict(resolve(settled(row)))))  # plain lists, as in the file
        how = {"augmentation": shown, "minutes": minutes, "threads": self.threads}
        return asked | how | {"versions": {package: version(package) for package in PACKAGES}}

    def plan(self, row: "Row", known: dict[str, Any] | None) -> dict[str, Any]:
        """Return the row's plan: the one that is there, else a new one, for which old runs are removed."""
        path, request = self.runs / row.title / "plan.json", self.request(row)
        kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else known and known["plan"]
        if kept and kept["request"] == request:
            plan: dict[str, Any] = kept
        else:
            shutil.rmtree(path.parent, ignore_errors=True)
            num_pictures = sum(path.is_file() for path in (self.photos / "train").rglob("*"))
            most = settled(row).epochs
            speed = measure_speed(task_of(row), most * num_pictures, self.console)
            epochs = plan_epochs(speed, num_pictures, request["minutes"], most)
            plan = {"request": request, "images_per_s": round(speed, 1), "epochs": epochs}
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_whole(path, json.dumps(plan).encode())
        return plan

    def dealt(self, seed: int) -> Path:
        """Return the split of this seed, as `depthwise train` deals it, beside the photos: made once, in minutes."""
        path = self.photos.with_name(f"{self.photos.name}-{seed}.csv")
        if not path.exists():
            config = dw.TrainConfig(seed=seed)
            index, _ = split_index(read_index(self.photos), config, None, default_workers(), self.console)
            write_manifest(path, index.records)
        return path

    def run(self, row: "Row", plan: dict[str, Any], seed: int) -> dict[str, Any]:
        """Train, or go on; then read the test pictures; return what was found."""
        folder = RunFolder(self.runs / row.title / f"seed{seed}")
        wishes = configure(row, plan["epochs"], seed)
        how: dict[str, Any] = {"resume": "auto", "threads": self.threads, "console": self.console}
        photos = self.dealt(seed)
        trained = dw.train(photos, folder.path, wishes, **how)
        found, history = dw.evaluate(folder.path, photos, "test", console=self.console), read_history(folder)
        rates = [row["images_per_s"] for row in history.timings.values() if "images_per_s" in row]
        scores, num_images = found.scores, int(found.scores.confusion.sum())
        return {
            "seed": seed,
            "top1": scores.top1,
            "top1_interval": [round(end, 4) for end in proportion_interval(scores.top1 * num_images, num_images)],
            "num_images": num_images,
            "test_reads": found.reads.num_reads if found.reads else None,
            "best_epoch": trained.best_epoch,
            "last_valid_top1": [row["valid_top1"] for row in history.rows[-LAST_EPOCHS:]],
            "minutes": round(history.seconds / 60, 2),
            "images_per_s": round(statistics.median(rates), 1),
            "command": portable(history.starts[0]["command"], row.title),
        }


def portable(command: str, name: str) -> str:
    """Return the command line that a run's first start noted, with the places that anybody has."""
    words = [word for word in shlex.split(command) if word != "--resume"]
    words[words.index("train") + 1] = "data/fashion-mnist"
    words[words.index("--out") + 1] = f"runs/{name}"
    return shlex.join(words)


def read_rows(path: Path) -> dict[str, dict[str, Any]]:
    """Return what was found so far, by the rows' names."""
    known = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    return {row["name"]: row for row in known}


def save(path: Path, rows: dict[str, dict[str, Any]], order: Sequence[str]) -> None:
    """Write all rows that are known, in the table's order."""
    in_order = [rows[title] for title in order if title in rows]
    whole = {**record.stamp(), "rows": in_order}
    files.write_whole(path, (json.dumps(whole, indent=1) + "\n").encode())


def carry_out(bench: Bench, wanted: Sequence["Row"], seeds: Sequence[int], order: Sequence[str]) -> None:
    """Run what is not done yet, all rows with one seed before the next seed; write after each run."""
    for seed in seeds:
        for row in wanted:
            rows = read_rows(bench.result)
            known = rows.get(row.title)
            plan = bench.plan(row, known)
            if known is None or known["plan"] != plan:
                about = {"name": row.title, "family": row.family, "network": row.network, "recipe": row.recipe}
                known = about | {"image_size": task_of(row).image_size, **costs(task_of(row)), "plan": plan, "runs": []}
            if seed in (run["seed"] for run in known["runs"]):
                continue
            print(f"\n== {row.title}, seed {seed}: {plan['epochs']} epochs", flush=True)
            known["machine"], run = record.machine(), bench.run(row, plan, seed)
            known["runs"] = sorted([*known["runs"], run], key=lambda run: run["seed"])
            save(bench.result, rows | {row.title: known}, order)
            print(f"{run['top1']:.2%} of {run['num_images']:,} test pictures, {run['minutes']:.1f} minutes", flush=True)
