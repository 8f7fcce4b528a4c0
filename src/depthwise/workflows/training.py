"""`depthwise train`: from pictures to a run folder."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from depthwise.artifact import Card, read_card
from depthwise.config import SaveEvery, SplitConfig, TrainConfig, default_workers
from depthwise.console import Quiet
from depthwise.data.audit import Skipped
from depthwise.data.order import batch_sizes
from depthwise.data.store import open_store
from depthwise.errors import UserError, require
from depthwise.models.create import parse_options
from depthwise.models.registry import model_info
from depthwise.training.compute import Compute, Method
from depthwise.training.distributed import Group, check_parts, join, local_device
from depthwise.training.loop import Teacher, run
from depthwise.training.memory import freed_memory_kept
from depthwise.training.schedule import check_warmup, is_finished
from depthwise.training.state import TrainState
from depthwise.workflows.checkpoints import Checkpoints
from depthwise.workflows.computing import settle_machine, settle_method
from depthwise.workflows.devices import choose_device
from depthwise.workflows.run_folder import RunFolder
from depthwise.workflows.settling import refuse_rivals, settle
from depthwise.workflows.teaching import read_teacher, teacher_hash
from depthwise.workflows.tensorboard_events import Events
from depthwise.workflows.training_data import TrainingPictures, load_pictures
from depthwise.workflows.training_drive import drive
from depthwise.workflows.training_start import (
    Earlier,
    Plan,
    Request,
    check_unchanged,
    new_card,
    open_run,
    plan,
)
from depthwise.workflows.training_state import build_state, what_learns


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
    cache_size: float | None = None,
    after: Earlier | None = None,
    within: RunFolder | None = None,
    command: str | None = None,
    console: Quiet | None = None,
) -> TrainResult:
    """Train on `data` (splits.csv, a folder with splits, or class folders) and keep everything in the folder `out`.

    `init` is a model file to start from. `resume="auto"` goes on with the run in `out`, or starts one; a finished run
    is left as it is unless `config` asks for more epochs. The state is saved at the end of each epoch and after every
    so many steps ("200") or seconds ("300s"). `cache_size`: GiB of decoded pictures and features kept on disk for
    further runs (`open_store`). `tensorboard` also writes events to RUN/tensorboard. Started by torchrun, all processes
    train one network together. `after` is the finished run of an earlier stage on the same pictures, whose best model
    is kept until this run finds a better one; `within` the run that this is an earlier stage of: replaced together with
    it; `command` the command line of both, to be noted. Raises UserError for what the user must settle, and Interrupted
    (state saved) on Ctrl-C or SIGTERM.
    """
    every = SaveEvery.parse(save_every)
    config = settle(config or TrainConfig(), init)
    refuse_rivals(init, config.pretrained, resume, overwrite=overwrite)
    spec = model_info(config.model)
    if cache_size is not None and not 0 <= cache_size <= 2**20:
        raise UserError(f"--cache-size {cache_size:g}: GiB, from 0 (nothing is kept) to {2**20:,}")
    if threads is not None and threads < 1:
        raise UserError(f"--threads {threads}: at least 1")
    if tensorboard:
        require("tensorboard", "tensorboard", "--tensorboard")
    request = Request(
        data=Path(data),
        folder=RunFolder(Path(out) if out else default_folder(data, config.model)),
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
        teacher=teacher_hash(config),
        cache_size=cache_size,
        after=after,
        within=within,
        command=command,
    )
    with freed_memory_kept(), join(choose_device(device)) as group:
        console = console if console and group.rank == 0 else Quiet()
        return _train(request, every, group, console)


def default_folder(data: str | Path, model: str) -> Path:
    """Return where a run is kept when nobody says."""
    return Path("runs") / f"{Path(data).resolve().stem}-{model}"


def _train(request: Request, every: SaveEvery, group: Group, console: Quiet) -> TrainResult:
    start = group.first(lambda: plan(request, console))
    machine = settle_machine(request, start, group)
    folder, config = request.folder, request.config
    if start.card and is_finished(start.position["epoch"], start.position["best_epoch"], config):
        console.say(f"{folder.path} {_why_finished(start.position, config)} already; nothing to do.")
        return _result(folder, start.position, (), group)
    teacher = read_teacher(config, start.index.classes, torch.device(machine["device"]))
    loading = load_pictures(
        start.index,
        start.geometry,
        folder.path,
        list(start.skipped),
        request.workers,
        console,
        store=open_store(request.cache_size),
        stored_size=start.stored_size,
    )
    with loading as pictures:
        _check_same_pictures(pictures, group)
        group.first(lambda: _check(request, start, pictures, group))
        card = _card(request, start, pictures, machine, group, console)
        with torch.random.fork_rng():
            place = local_device(machine["device"])
            state = build_state(start, card, config, place, group, console)
            group.first(lambda: open_run(request, start, card, pictures))
            console.say(_describe(card, config, pictures))
            _run(state, card, pictures, request, every, group, console, place, teacher)
    return _result(folder, state.position(), pictures.skipped, group)


def _check(request: Request, start: Plan, pictures: TrainingPictures, group: Group) -> None:
    config = request.config
    check_parts(len(pictures.training), config.batch_size, group.size, config.accumulate)
    check_warmup(len(batch_sizes(len(pictures.training), config.batch_size)), config)
    if start.card:
        check_unchanged(start.card, pictures, request.folder, allow_changes=request.allow_changes)


def _card(
    request: Request, start: Plan, pictures: TrainingPictures, machine: dict[str, Any], group: Group, console: Quiet
) -> Card:
    card = start.card or group.first(lambda: new_card(request, start, pictures, console))
    num_images = len(pictures.training)
    method = group.first(lambda: settle_method(request, start, card, machine["device"], num_images, console))
    return replace(card, training={**card.training, "machine": machine, "compute": method.to_json()})


def _check_same_pictures(pictures: TrainingPictures, group: Group) -> None:
    if group.first(lambda: pictures.digest) != pictures.digest:
        raise UserError(
            f"process {group.rank} sees other pictures than process 0: the folder of pictures must be the same, under "
            "the same path, on every machine"
        )


def _run(
    state: TrainState,
    card: Card,
    pictures: TrainingPictures,
    request: Request,
    every: SaveEvery,
    group: Group,
    console: Quiet,
    place: torch.device,
    teacher: Teacher | None,
) -> None:
    config = request.config
    events = Events(request.folder.tensorboard, state.history) if request.tensorboard and group.rank == 0 else None
    checkpoints = Checkpoints(request.folder, card, config, every, console, events=events)
    group.first(lambda: checkpoints.start(state))
    if request.after and state.step == 0:
        earlier = request.after.folder.best
        checkpoints.begin_with(*group.first(lambda: (read_card(earlier), earlier.read_bytes())), state)
    store = open_store(request.cache_size)
    shown, config, normalise = what_learns(state, card, pictures, config, place, console, store)
    group.meet()  # features took one machine longer than the other
    reports = run(
        state,
        shown.training,
        shown.valid,
        config,
        normalise=normalise,
        device=place,
        workers=request.workers,
        group=group,
        compute=Compute(state.model, Method.from_json(card.training["compute"])),
        teacher=teacher,
    )
    num_steps = len(batch_sizes(len(pictures.training), config.batch_size))
    num_reports = (config.epochs - state.epoch) * (num_steps + 1) - state.batch
    drive(reports, state, checkpoints, config, console, group, num_reports=num_reports)


def _describe(card: Card, config: TrainConfig, pictures: TrainingPictures) -> str:
    machine, method = card.training["machine"], Method.from_json(card.training["compute"])
    small = ", strides for small pictures" if card.small_input else ""
    processes = f" in {machine['processes']} processes" if machine["processes"] > 1 else ""
    return (
        f"{card.model}{small}: {len(card.classes)} classes, {len(pictures.training):,} training and "
        f"{len(pictures.valid):,} validation pictures, {config.epochs} epochs on {machine['device']}{processes}, "
        f"{method.describe()}."
    )


def _why_finished(position: dict[str, Any], config: TrainConfig) -> str:
    if position["epoch"] >= config.epochs:
        return f"has its {config.epochs} epochs"
    return f"stopped after epoch {position['epoch']}, {config.patience} epochs without a better one (--patience),"


def _result(folder: RunFolder, position: dict[str, Any], skipped: tuple[Skipped, ...], group: Group) -> TrainResult:
    best_epoch, best_top1 = position["best_epoch"], position["best_top1"]
    return TrainResult(folder.path, best_epoch, best_top1, position["epoch"], skipped, group.rank)
