"""`depthwise train`: from pictures to a run folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from depthwise import artifact
from depthwise.artifact import Card
from depthwise.config import SplitConfig, TrainConfig, default_workers
from depthwise.console import Quiet
from depthwise.data import cache
from depthwise.data.audit import Skipped, check_share
from depthwise.data.geometry import Geometry
from depthwise.data.index import Index, read_index, write_manifest
from depthwise.errors import UserError
from depthwise.models.normalise import Normalise
from depthwise.models.registry import ModelSpec, create_model, model_info, parse_options
from depthwise.training.loop import run
from depthwise.training.optim import build_optimizer
from depthwise.training.state import TrainState
from depthwise.workflows.devices import choose_device
from depthwise.workflows.run_folder import RunFolder
from depthwise.workflows.splitting import check_same_classes
from depthwise.workflows.training_data import choose_geometry, measure_colours, split_index
from depthwise.workflows.training_drive import drive

SMALL = 32
"""Largest input side, px, at which `small_input` is set."""


@dataclass(frozen=True)
class TrainResult:
    """What a training run left behind."""

    folder: Path
    """RUN."""
    best_epoch: int
    best_top1: float
    """Validation accuracy of best.safetensors, in [0, 1]."""
    num_epochs: int
    """Epochs done, all starts together."""
    skipped: tuple[Skipped, ...]
    """Pictures that could not be used."""


def train(
    data: str | Path,
    out: str | Path | None = None,
    config: TrainConfig | None = None,
    split: SplitConfig | None = None,
    *,
    resume: Literal["never", "auto"] = "never",
    overwrite: bool = False,
    allow_changes: bool = False,
    device: str = "auto",
    workers: int | None = None,
    console: Quiet | None = None,
) -> TrainResult:
    """Train on `data` (splits.csv, a folder with splits, or class folders) and keep everything in the folder `out`.

    `resume="auto"` goes on with the run in `out`, or starts one; a finished run is left as it is unless `config` asks
    for more epochs. Raises UserError for what the user must settle, and Interrupted (state saved) on Ctrl-C or SIGTERM.
    """
    config, console = config or TrainConfig(), console or Quiet()
    spec = model_info(config.model)
    options = parse_options(spec, config.set)
    folder = RunFolder(Path(out) if out else Path("runs") / f"{Path(data).resolve().stem}-{config.model}")
    workers = default_workers() if workers is None else workers
    place = torch.device(choose_device(device))
    if resume == "auto" and folder.last.exists():
        start = _reopen(folder, config, allow_changes)
        if start.position["epoch"] >= config.epochs:
            console.say(f"{folder.path} has its {config.epochs} epochs already; nothing to do.")
            return _result(folder, start.position, ())
        index, skipped = read_index(folder.splits), []
    else:
        start = None
        if not overwrite and folder.is_used:
            folder.open_new(overwrite=False)  # says how to go on, before any work is done
        index, skipped = split_index(read_index(Path(data)), config, split, workers, console)
        folder.open_new(overwrite=overwrite)
    geometry = start.card.geometry if start else choose_geometry(index, spec, config, console)
    parts = (index.part("train"), index.part("valid"))
    arguments: dict[str, Any] = {"folder": folder.path, "workers": workers, "console": console}
    with (
        cache.load(parts[0], index.classes, geometry, **arguments) as (training, lost),
        cache.load(parts[1], index.classes, geometry, **arguments) as (valid, lost_too),
    ):
        skipped = [*skipped, *lost, *lost_too]
        check_share(skipped, len(index.records) + len(skipped) - len(lost) - len(lost_too))
        for part, name in ((training, "train"), (valid, "valid")):
            check_same_classes(index.classes, part.records, f"{data} ({name})")
        if not start:
            geometry = measure_colours(geometry, training)
            start = _Start(_new_card(spec, config, options, index, geometry, len(training)), {}, {})
            write_manifest(folder.splits, index.records)
        folder.write_config({"model": start.card.model, "train": config.to_json(), "geometry": geometry.to_json()})
        console.say(_describe(start.card, config, len(training), len(valid), place))
        with torch.random.fork_rng():
            state = _build_state(start, config, place)
            normalise = Normalise(geometry.mean, geometry.std).to(place)
            reports = run(state, training, valid, config, normalise=normalise, device=place, workers=workers)
            drive(reports, state, start.card, config, folder, console, len(training))
    return _result(folder, state.position(), tuple(skipped))


@dataclass(frozen=True)
class _Start:
    """Where a run begins: its card, and what a checkpoint holds (nothing, for a new run)."""

    card: Card
    position: dict[str, Any]
    tensors: dict[str, torch.Tensor]


def _reopen(folder: RunFolder, config: TrainConfig, allow_changes: bool) -> _Start:
    """Read the checkpoint. Raises UserError when the configuration differs in more than the number of epochs."""
    card, tensors = artifact.read(folder.last)
    if card.kind != "checkpoint":
        raise UserError(f"{folder.last}: not a checkpoint; start again with --overwrite")
    old, new = card.training["config"], config.to_json()
    changed = sorted(name for name in {*old, *new} - {"epochs"} if old.get(name) != new.get(name))
    if changed and not allow_changes:
        listing = "\n".join(f"  {name}: {old.get(name)} in the run, {new.get(name)} now" for name in changed)
        raise UserError(
            f"{folder.path} was started with other settings:\n{listing}\n"
            "Give the same ones, or go on with the new ones by --allow-changes, or start again by --overwrite."
        )
    if config.model != old["model"]:
        raise UserError(f"{folder.path} trains {old['model']}, not {config.model}; choose another --out")
    return _Start(card, card.training["position"], tensors)


def _new_card(
    spec: ModelSpec, config: TrainConfig, options: dict[str, Any], index: Index, geometry: Geometry, num_images: int
) -> Card:
    small_input = options.pop("small_input", geometry.image_size <= SMALL)
    if "bn_momentum" in spec.allowed_options and "bn_momentum" not in options:
        options["bn_momentum"] = _running_share(spec, num_images / config.batch_size)
    return Card("checkpoint", spec.name, options, small_input, index.classes, geometry, {}, spec.paper)


def _running_share(spec: ModelSpec, steps_per_epoch: float) -> float:
    """Return batch norm's momentum: the network's own, but large enough to follow within a fifth of an epoch (at most 0.1).

    With few steps the papers' slow averages (MobileNetV3: 0.01) still hold the statistics of the fresh weights when
    training ends; see docs/training.md for the measurement.
    """
    own = spec.options.get("bn_momentum", spec.allowed_options["bn_momentum"].default)
    return round(max(own, min(0.1, 5 / steps_per_epoch)), 4)


def _build_state(start: _Start, config: TrainConfig, place: torch.device) -> TrainState:
    torch.manual_seed(config.seed)
    card = start.card
    model = create_model(card.model, len(card.classes), card.geometry.channels, card.small_input, **card.options)
    model = model.to(place, memory_format=torch.channels_last)
    optimizer = build_optimizer(model, momentum=config.momentum, weight_decay=config.weight_decay)
    state = TrainState(model, optimizer)
    if start.position:
        state.restore(start.tensors, start.position)
    return state


def _describe(card: Card, config: TrainConfig, num_train: int, num_valid: int, place: torch.device) -> str:
    small = ", strides for small pictures" if card.small_input else ""
    return (
        f"{card.model}{small}: {len(card.classes)} classes, {num_train:,} training and {num_valid:,} validation pictures, "
        f"{config.epochs} epochs on {place.type}."
    )


def _result(folder: RunFolder, position: dict[str, Any], skipped: tuple[Skipped, ...]) -> TrainResult:
    return TrainResult(folder.path, position["best_epoch"], position["best_top1"], position["epoch"], skipped)
