"""`depthwise train`: from pictures to a run folder."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from depthwise.artifact import Card
from depthwise.config import LR_FRESH, LR_TUNED, SaveEvery, SplitConfig, TrainConfig, default_workers
from depthwise.console import Quiet
from depthwise.data.audit import Skipped
from depthwise.data.order import batch_sizes
from depthwise.errors import UserError, require
from depthwise.models.create import create_model, parse_options
from depthwise.models.normalise import Normalise
from depthwise.models.registry import model_info
from depthwise.training.distributed import Group, check_parts, join, local_device
from depthwise.training.loop import run
from depthwise.training.optim import build_optimizer
from depthwise.training.state import TrainState
from depthwise.workflows.checkpoints import Checkpoints
from depthwise.workflows.devices import choose_device, set_threads
from depthwise.workflows.frozen import embed, freeze
from depthwise.workflows.run_folder import RunFolder
from depthwise.workflows.tensorboard_events import Events
from depthwise.workflows.training_data import TrainingPictures, load_pictures
from depthwise.workflows.training_drive import drive
from depthwise.workflows.training_start import (
    Plan,
    Request,
    check_same_machine,
    check_unchanged,
    new_card,
    open_run,
    plan,
)
from depthwise.workflows.warm_start import take_over

SMALL_PART = 16
"""Pictures per process below which batch norm is computed over all processes, on GPUs."""


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
    rank: int = 0
    """Which process of several this is; all return the same, one should talk of it."""


def train(
    data: str | Path,
    out: str | Path | None = None,
    config: TrainConfig | None = None,
    split: SplitConfig | None = None,
    *,
    init: str | Path | None = None,
    resume: Literal["never", "auto"] = "never",
    save_every: str = "300s",
    overwrite: bool = False,
    allow_changes: bool = False,
    tensorboard: bool = False,
    device: str = "auto",
    threads: int | None = None,
    workers: int | None = None,
    console: Quiet | None = None,
) -> TrainResult:
    """Train on `data` (splits.csv, a folder with splits, or class folders) and keep everything in the folder `out`.

    `init` is a model file to start from. `resume="auto"` goes on with the run in `out`, or starts one; a finished run
    is left as it is unless `config` asks for more epochs. The state is saved at the end of each epoch and after every
    so many steps ("200") or seconds ("300s"). `tensorboard` also writes events to RUN/tensorboard. Started by torchrun,
    all processes train one network together. Raises UserError for what the user must settle, and Interrupted (state
    saved) on Ctrl-C or SIGTERM.
    """
    config, every = config or TrainConfig(), SaveEvery.parse(save_every)
    if config.lr is None:
        config = replace(config, lr=LR_TUNED if init or config.pretrained else LR_FRESH)
    if init and config.pretrained:
        raise UserError("--init and --pretrained both name weights to start from: give one of them")
    spec = model_info(config.model)
    if resume == "auto" and overwrite:
        raise UserError("--resume goes on with a run, --overwrite replaces it: give one of them")
    if threads is not None and threads < 1:
        raise UserError(f"--threads {threads}: at least 1")
    if tensorboard:
        require("tensorboard", "tensorboard", "--tensorboard")
    request = Request(
        data=Path(data),
        folder=RunFolder(Path(out) if out else Path("runs") / f"{Path(data).resolve().stem}-{config.model}"),
        config=config,
        split=split,
        spec=spec,
        options=parse_options(spec, config.set),
        init=Path(init) if init else None,
        is_resumed=resume == "auto",
        overwrite=overwrite,
        allow_changes=allow_changes,
        tensorboard=tensorboard,
        threads=threads,
        device=device,
        workers=default_workers() if workers is None else workers,
    )
    with join(choose_device(device)) as group:
        console = console if console and group.rank == 0 else Quiet()
        return _train(request, every, group, console)


def _train(request: Request, every: SaveEvery, group: Group, console: Quiet) -> TrainResult:
    start = group.first(lambda: plan(request, console))
    machine = _settle_machine(request, start, group)
    folder, config = request.folder, request.config
    if start.card and start.position["epoch"] >= config.epochs:
        console.say(f"{folder.path} has its {config.epochs} epochs already; nothing to do.")
        return _result(folder, start.position, (), group)
    skipped = list(start.skipped)
    with load_pictures(start.index, start.geometry, folder.path, skipped, request.workers, console) as pictures:
        _check_same_pictures(pictures, group)
        group.first(lambda: _check(request, start, pictures, group))
        card = _card(request, start, pictures, machine)
        with torch.random.fork_rng():
            place = local_device(machine["device"])
            state = _build_state(start, card, config, place, group, console)
            group.first(lambda: open_run(request, start, card, pictures))
            console.say(_describe(card, config, pictures, machine))
            _run(state, card, pictures, request, every, group, console, place)
    return _result(folder, state.position(), pictures.skipped, group)


def _check(request: Request, start: Plan, pictures: TrainingPictures, group: Group) -> None:
    config = request.config
    check_parts(len(pictures.training), config.batch_size, group.size, config.accumulate)
    if start.card:
        check_unchanged(start.card, pictures, request.folder, allow_changes=request.allow_changes)


def _card(request: Request, start: Plan, pictures: TrainingPictures, machine: dict[str, Any]) -> Card:
    if start.card:
        return replace(start.card, training={**start.card.training, "machine": machine})
    return new_card(request, start, pictures, machine)


def _settle_machine(request: Request, start: Plan, group: Group) -> dict[str, Any]:
    """Return device, threads and processes: as asked for, else as the run has them, else what there is.

    They decide in which order sums are made, hence the last bits.
    """
    old = start.card.training["machine"] if start.card else {}
    if request.threads is not None or "threads" in old:
        set_threads(request.threads if request.threads is not None else old["threads"])
    device = choose_device(old.get("device", "auto") if request.device == "auto" else request.device)
    machine = {"device": device, "threads": torch.get_num_threads(), "processes": group.size}
    if old:
        group.first(lambda: check_same_machine(old, machine, request.folder, allow_changes=request.allow_changes))
    return machine


def _check_same_pictures(pictures: TrainingPictures, group: Group) -> None:
    if group.first(lambda: pictures.digest) != pictures.digest:
        raise UserError(
            f"process {group.rank} sees other pictures than process 0: the folder of pictures must be the same, under "
            "the same path, on every machine"
        )


def _build_state(
    start: Plan, card: Card, config: TrainConfig, place: torch.device, group: Group, console: Quiet
) -> TrainState:
    torch.manual_seed(config.seed)
    model = create_model(card.model, len(card.classes), card.geometry.channels, card.small_input, **card.options)
    if start.donor:
        console.say(take_over(model, card.classes, start.donor))
    if place.type == "cuda" and group.size > 1 and config.batch_size < SMALL_PART * group.size * config.accumulate:
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model, group.steps)  # type: ignore[no-untyped-call]
    model = model.to(place).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = build_optimizer(model, momentum=config.momentum, weight_decay=config.weight_decay)
    state = TrainState(model, optimizer)
    if start.tensors is not None:
        state.restore(start.tensors, start.position)
    group.copy_first(list(model.state_dict().values()))  # equal seeds draw equal weights on equal machines only
    return state


def _run(
    state: TrainState,
    card: Card,
    pictures: TrainingPictures,
    request: Request,
    every: SaveEvery,
    group: Group,
    console: Quiet,
    place: torch.device,
) -> None:
    config = request.config
    events = Events(request.folder.tensorboard, state.history) if request.tensorboard and group.rank == 0 else None
    checkpoints = Checkpoints(request.folder, card, config, every, console, events=events)
    checkpoints.start(state)
    normalise: nn.Module = Normalise(card.geometry.mean, card.geometry.std).to(place)
    training, valid = pictures.training, pictures.valid
    if config.freeze == "backbone":
        training, valid = (embed(state.model, part, normalise, place, console) for part in (training, valid))
        freeze(state.model)
        config, normalise = replace(config, augment="none", recalibrate=False), nn.Identity()
    reports = run(
        state,
        training,
        valid,
        config,
        normalise=normalise,
        device=place,
        workers=request.workers,
        group=group,
    )
    num_steps = len(batch_sizes(len(pictures.training), config.batch_size))
    num_reports = (config.epochs - state.epoch) * (num_steps + 1) - state.batch
    drive(reports, state, checkpoints, config, console, group, num_reports=num_reports)


def _describe(card: Card, config: TrainConfig, pictures: TrainingPictures, machine: dict[str, Any]) -> str:
    small = ", strides for small pictures" if card.small_input else ""
    processes = f" in {machine['processes']} processes" if machine["processes"] > 1 else ""
    return (
        f"{card.model}{small}: {len(card.classes)} classes, {len(pictures.training):,} training and "
        f"{len(pictures.valid):,} validation pictures, {config.epochs} epochs on {machine['device']}{processes}."
    )


def _result(folder: RunFolder, position: dict[str, Any], skipped: tuple[Skipped, ...], group: Group) -> TrainResult:
    best_epoch, best_top1 = position["best_epoch"], position["best_top1"]
    return TrainResult(folder.path, best_epoch, best_top1, position["epoch"], skipped, group.rank)
