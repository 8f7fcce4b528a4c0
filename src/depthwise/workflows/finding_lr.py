"""`depthwise find-lr`: which learning rate a network and pictures bear, by a short sweep that keeps nothing."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from depthwise.config import SplitConfig, TrainConfig, default_workers
from depthwise.console import Quiet
from depthwise.data.store import open_store
from depthwise.errors import UserError
from depthwise.models.create import parse_options
from depthwise.models.registry import model_info
from depthwise.training.compute import Compute
from depthwise.training.distributed import ALONE, check_parts, local_device
from depthwise.training.loss import build_loss
from depthwise.training.lr_finder import Point, Sweep, suggest
from depthwise.workflows.computing import settle_method
from depthwise.workflows.devices import choose_device, set_threads
from depthwise.workflows.run_folder import HEAD, RunFolder
from depthwise.workflows.settling import settle
from depthwise.workflows.staged_training import settle_recipe
from depthwise.workflows.teaching import read_teacher
from depthwise.workflows.training import train as train_once
from depthwise.workflows.training_data import load_pictures
from depthwise.workflows.training_start import Request, new_card, plan
from depthwise.workflows.training_state import build_state, what_learns

FEWEST_STEPS = 20


@dataclass(frozen=True)
class Finding:
    """What a sweep found."""

    model: str
    recipe: str
    optimizer: str
    points: tuple[Point, ...]
    suggestion: float | None
    """Where the smoothed loss falls most steeply; None where it never falls."""
    has_diverged: bool
    """True when the sweep ended before its last step."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values, as the command line prints them."""
        return {
            "model": self.model,
            "recipe": self.recipe,
            "optimizer": self.optimizer,
            "suggestion": self.suggestion,
            "has_diverged": self.has_diverged,
            "points": [point._asdict() for point in self.points],
        }


def find_lr(
    data: str | Path,
    config: TrainConfig | Mapping[str, Any] | None = None,
    split: SplitConfig | Mapping[str, Any] | None = None,
    *,
    init: str | Path | None = None,
    low: float | None = None,
    high: float | None = None,
    num_steps: int = 200,
    device: str = "auto",
    threads: int | None = None,
    workers: int | None = None,
    console: Quiet | None = None,
) -> Finding:
    """Return how the loss fares while the learning rate rises from `low` to `high` in `num_steps` steps.

    Without them from a thousandth of the rate that `train` would use to a hundred times that. Network, pictures and
    settings are those that `train` would begin with, by a recipe those of its last stage (see there what `config` may
    be), after the stage before, which is trained for it; nothing is kept. Raises UserError.
    """
    console = console or Quiet()
    if isinstance(config, TrainConfig):
        stages = [config]
    else:
        recipe, _, wishes = settle_recipe(Path(data), None, config or {}, init, console, split)
        stages = recipe.stages(wishes)
    last = settle(stages[-1], init)
    low, high = (last.peak_lr / 1000 if low is None else low), (last.peak_lr * 100 if high is None else high)
    if not 0 < low < high:
        raise UserError(f"--low {low:g} and --high {high:g}: both above 0, and --low the smaller one")
    if num_steps < FEWEST_STEPS:
        raise UserError(f"--steps {num_steps}: at least {FEWEST_STEPS}, or the smoothed loss says nothing")
    if threads is not None:
        set_threads(threads)
    place = local_device(choose_device(device))
    workers = default_workers() if workers is None else workers
    dealing: SplitConfig | None = SplitConfig.of(split, last.seed)
    with tempfile.TemporaryDirectory() as folder:
        for stage in stages[:-1]:
            console.say("First the last layer alone, as before such a run.")
            head = Path(folder, HEAD)
            how: dict[str, Any] = {"device": device, "threads": threads, "workers": workers, "console": console}
            train_once(data, head, stage, dealing, init=init, **how)
            data, init, dealing, last = RunFolder(head).splits, head, None, replace(last, pretrained=None)
        request = _request(data, folder, last, dealing, init, workers)
        with torch.random.fork_rng(), _sweep(request, place, console, low, high, num_steps) as sweep:
            points = tuple(console.track(sweep.points(), num_steps, "Sweeping"))
    return Finding(last.model, last.recipe, last.optimizer, points, suggest(points), len(points) < num_steps)


def _request(
    data: str | Path,
    folder: str,
    config: TrainConfig,
    split: SplitConfig | None,
    init: str | Path | None,
    workers: int,
) -> Request:
    spec = model_info(config.model)
    return Request(
        data=Path(data),
        folder=RunFolder(Path(folder, "run")),
        config=config,
        split=split,
        spec=spec,
        options=parse_options(spec, config.set),
        init=Path(init) if init else None,
        is_resumed=False,
        overwrite=False,
        allow_changes=False,
        threads=None,
        device="auto",
        workers=workers,
    )


@contextmanager
def _sweep(
    request: Request, place: torch.device, console: Quiet, low: float, high: float, num_steps: int
) -> Iterator[Sweep]:
    """Yield the sweep, ready to go, while the pictures are there."""
    start, config = plan(request, console), request.config
    teacher = read_teacher(config, start.index.classes, place)
    skipped = list(start.skipped)
    loading = load_pictures(
        *(start.index, start.geometry, request.folder.path, skipped, request.workers, console),
        store=open_store(),
        stored_size=start.stored_size,
    )
    with loading as pictures:
        check_parts(len(pictures.training), config.batch_size, 1, config.accumulate)
        card, num_images = new_card(request, start, pictures, console), len(pictures.training)
        method = settle_method(request, start, card, place.type, num_images, console)
        card = replace(card, training={**card.training, "compute": method.to_json()})
        state = build_state(start, card, config, place, ALONE, console)
        shown, config, normalise = what_learns(state, card, pictures, config, place, console)
        loss = build_loss(config, shown.training.labels, place)
        yield Sweep(
            *(state, shown.training, shown.valid, config, normalise, place, request.workers, ALONE),
            *(Compute(state.model, method), loss, teacher),
            low=low,
            high=high,
            num_steps=num_steps,
        )
