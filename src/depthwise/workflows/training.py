"""`depthwise train`: from pictures to a run folder."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from depthwise import artifact
from depthwise.artifact import Card
from depthwise.config import SplitConfig, TrainConfig, default_workers
from depthwise.console import Quiet
from depthwise.data.audit import Skipped
from depthwise.data.geometry import Geometry
from depthwise.data.index import read_index, write_manifest
from depthwise.data.order import batch_sizes
from depthwise.errors import UserError
from depthwise.models.create import create_model, parse_options
from depthwise.models.normalise import Normalise
from depthwise.models.registry import ModelSpec, model_info
from depthwise.models.summary import check_image_size
from depthwise.training.loop import run
from depthwise.training.optim import build_optimizer
from depthwise.training.state import TrainState
from depthwise.workflows.devices import choose_device, set_threads
from depthwise.workflows.run_folder import RunFolder
from depthwise.workflows.training_data import (
    TrainingPictures,
    choose_geometry,
    load_pictures,
    measure_colours,
    split_index,
)
from depthwise.workflows.training_drive import drive

BUILT_IN = {"model", "set", "image_size", "channels", "fit", "batch_size", "seed"}
"""Settings that a checkpoint's weights and position make no sense without."""
MAX_BYTES = 2**38
"""What training's weights may need: 256 GiB, more than any machine this is for."""
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
    threads: int | None = None,
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
    if threads is not None:
        set_threads(threads)
    source = os.path.abspath(data)
    if resume == "auto" and overwrite:
        raise UserError("--resume auto goes on with a run, --overwrite replaces it: give one of them")
    start = _reopen(folder, config, source, allow_changes) if resume == "auto" and folder.last.exists() else None
    if start and start.position["epoch"] >= config.epochs:
        console.say(f"{folder.path} has its {config.epochs} epochs already; nothing to do.")
        return _result(folder, start.position, ())
    skipped: list[Skipped] = []
    if start:
        index, geometry = read_index(folder.splits), start.card.geometry
    else:
        folder.check_free(overwrite=overwrite)
        index, skipped = split_index(read_index(Path(data)), config, split, workers, console)
        geometry = choose_geometry(index, spec, config, console)
    if not start:
        _check_network(spec, config, options, len(index.classes), geometry)
    with load_pictures(index, geometry, folder.path, skipped, workers, console) as pictures:
        if start:
            _check_unchanged(start, pictures, folder, allow_changes)
        else:
            geometry = measure_colours(geometry, pictures.training)
            card = _new_card(spec, config, options, pictures, geometry, source)
            start = _Start(card, {}, {})
            folder.open_new()
            write_manifest(folder.splits, pictures.records)
        folder.write_config({"model": start.card.model, "train": config.to_json(), "geometry": geometry.to_json()})
        console.say(_describe(start.card, config, pictures, place))
        with torch.random.fork_rng():
            state = _build_state(start, config, place)
            normalise = Normalise(geometry.mean, geometry.std).to(place)
            reports = run(
                state, pictures.training, pictures.valid, config, normalise=normalise, device=place, workers=workers
            )
            num_steps = len(batch_sizes(len(pictures.training), config.batch_size))
            num_reports = (config.epochs - state.epoch) * (num_steps + 1) - state.batch
            drive(reports, state, start.card, config, folder, console, num_reports=num_reports)
    return _result(folder, state.position(), pictures.skipped)


@dataclass(frozen=True)
class _Start:
    """Where a run begins: its card, and what a checkpoint holds (nothing, for a new run)."""

    card: Card
    position: dict[str, Any]
    tensors: dict[str, torch.Tensor]


def _reopen(folder: RunFolder, config: TrainConfig, source: str, allow_changes: bool) -> _Start:
    """Read the checkpoint. Raises UserError when the configuration differs in more than the number of epochs."""
    card, tensors = artifact.read(folder.last)
    if card.kind != "checkpoint":
        raise UserError(f"{folder.last}: not a checkpoint; start again with --overwrite")
    old = card.training["config"] | {"DATA": card.training["source"]}
    new = config.to_json() | {"DATA": source}
    changed = sorted(name for name in {*old, *new} - {"epochs"} if old.get(name) != new.get(name))
    listing = "\n".join(f"  {name}: {old.get(name)} in the run, {new.get(name)} now" for name in changed)
    if BUILT_IN & set(changed):
        raise UserError(
            f"{folder.path} cannot go on as another network, with another input or in another order:\n{listing}\n"
            "Give the same settings, or choose another folder by --out."
        )
    if changed and not allow_changes:
        raise UserError(
            f"{folder.path} was started with other settings:\n{listing}\n"
            "Give the same ones, or go on with the new ones by --allow-changes, or start again by --overwrite."
        )
    return _Start(card, card.training["position"], tensors)


def _check_unchanged(start: _Start, pictures: TrainingPictures, folder: RunFolder, allow_changes: bool) -> None:
    if pictures.digest != start.card.training["pictures"] and not allow_changes:
        lost = f" ({len(pictures.skipped)} cannot be read any more)" if pictures.skipped else ""
        raise UserError(
            f"the pictures of {folder.path} have changed since it was started{lost}. Bring them back, or go on with "
            "what is there by --allow-changes, or start again by --overwrite."
        )


def _check_network(
    spec: ModelSpec, config: TrainConfig, options: dict[str, Any], num_classes: int, geometry: Geometry
) -> None:
    """Raise UserError, before any picture is decoded, when the network cannot be built or takes no such pictures."""
    small_input, own = _split_options(options, geometry)
    with torch.device("meta"):
        model = create_model(spec.name, num_classes, geometry.channels, small_input, **own)
    check_image_size(model, geometry.image_size, geometry.channels)
    num_bytes = 16 * sum(
        parameter.numel() for parameter in model.parameters()
    )  # weights, gradients, momentum, one copy
    if num_bytes > MAX_BYTES:
        raise UserError(
            f"{config.model} with these options needs {num_bytes / 2**30:,.0f} GiB to train; try fewer channels"
        )


def _split_options(options: dict[str, Any], geometry: Geometry) -> tuple[bool, dict[str, Any]]:
    """Return `small_input`, by the pictures' size unless it is set, and the network's own options."""
    own = {name: value for name, value in options.items() if name != "small_input"}
    return options.get("small_input", geometry.image_size <= SMALL), own


def _new_card(
    spec: ModelSpec,
    config: TrainConfig,
    options: dict[str, Any],
    pictures: TrainingPictures,
    geometry: Geometry,
    source: str,
) -> Card:
    small_input, options = _split_options(options, geometry)
    training = {"config": config.to_json(), "pictures": pictures.digest, "source": source}
    return Card("checkpoint", spec.name, options, small_input, pictures.classes, geometry, training, spec.paper)


def _build_state(start: _Start, config: TrainConfig, place: torch.device) -> TrainState:
    torch.manual_seed(config.seed)
    card = start.card
    model = create_model(card.model, len(card.classes), card.geometry.channels, card.small_input, **card.options)
    model = model.to(place).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = build_optimizer(model, momentum=config.momentum, weight_decay=config.weight_decay)
    state = TrainState(model, optimizer)
    if start.position:
        state.restore(start.tensors, start.position)
    return state


def _describe(card: Card, config: TrainConfig, pictures: TrainingPictures, place: torch.device) -> str:
    small = ", strides for small pictures" if card.small_input else ""
    return (
        f"{card.model}{small}: {len(card.classes)} classes, {len(pictures.training):,} training and "
        f"{len(pictures.valid):,} validation pictures, {config.epochs} epochs on {place.type}."
    )


def _result(folder: RunFolder, position: dict[str, Any], skipped: tuple[Skipped, ...]) -> TrainResult:
    return TrainResult(folder.path, position["best_epoch"], position["best_top1"], position["epoch"], skipped)
