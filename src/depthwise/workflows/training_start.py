"""Where a training run begins: anew, or at its checkpoint; and whether it may."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from depthwise.artifact import Card, read_card
from depthwise.config import SplitConfig, TrainConfig
from depthwise.console import Quiet
from depthwise.data.audit import Skipped
from depthwise.data.geometry import Geometry
from depthwise.data.index import Index, digest_of_split, read_index, write_manifest
from depthwise.errors import UserError
from depthwise.models.create import create_model
from depthwise.models.registry import ModelSpec
from depthwise.models.summary import check_image_size
from depthwise.training.stages import check_stages
from depthwise.workflows.frozen import check_can_freeze
from depthwise.workflows.run_folder import RunFolder
from depthwise.workflows.run_history import read_history
from depthwise.workflows.run_record import describe_start, with_findings
from depthwise.workflows.settling import settle
from depthwise.workflows.training_data import (
    TrainingPictures,
    can_mirror,
    choose_geometry,
    choose_stored_size,
    measure_colours,
    split_index,
)
from depthwise.workflows.warm_start import Donor, check_donor, fetch_donor, read_donor

BUILT_IN = {
    *("model", "pretrained", "freeze", "set", "image_size", "channels", "fit", "batch_size", "seed"),
    *("optimizer", "layer_decay", "centre_only"),
}
"""Settings that a checkpoint's weights, optimiser and position make no sense without."""
LENGTH = {"epochs", "patience"}
"""Settings that say how long to go on."""
COUNTED = {"warmup_epochs", "decay_every", "milestones"}
"""Settings that follow the number of epochs where a recipe has them."""
MAX_BYTES = 2**38
"""What training's weights may need: 256 GiB, more than any machine this is for."""
SMALL = 32
"""Largest input side, px, at which `small_input` is set."""


class Earlier(NamedTuple):
    """The stage before a run, and what it was asked for."""

    folder: RunFolder
    data: Path
    init: Path | None
    config: TrainConfig
    split: SplitConfig | None


@dataclass(frozen=True)
class Request:
    """What `train` was asked to do."""

    data: Path
    folder: RunFolder
    config: TrainConfig
    split: SplitConfig | None
    spec: ModelSpec
    options: dict[str, Any]
    """The network's own options, `small_input` among them where it is set."""
    init: Path | None
    is_resumed: bool
    overwrite: bool
    allow_changes: bool
    threads: int | None
    device: str
    workers: int
    teacher: str | None = None
    """Hash of the teacher's file."""
    cache_size: float | None = None
    tensorboard: bool = False
    after: Earlier | None = None
    """The finished earlier stage, whose best model is to be beaten."""
    within: RunFolder | None = None
    """The run that this one is an earlier stage of."""
    command: str | None = None
    """The command line of all stages together."""

    @property
    def sources(self) -> dict[str, str]:
        """Where pictures and first weights come from: part of what a resumed run must not change."""
        sources = {"teacher's hash": self.teacher} if self.teacher else {}
        if self.after:  # the folder's own, wherever it is moved to
            return sources
        sources |= {"init": os.path.abspath(self.init)} if self.init else {}
        return sources | {"DATA": os.path.abspath(self.data)}

    @property
    def before(self) -> "Request | None":
        """What the earlier stage was asked for."""
        if not self.after:
            return None
        folder, data, init, config, split = self.after
        config = settle(config, init)
        return replace(self, folder=folder, data=data, init=init, config=config, split=split, after=None, teacher=None)

    @property
    def dealing(self) -> dict[str, Any]:
        """How pictures without a split are dealt out, but for the seed, as plain values."""
        split = self.split or SplitConfig()
        quarantine = os.path.abspath(split.quarantine) if split.quarantine else None
        return {"valid": split.valid, "test": split.test, "group_by": split.group_by, "quarantine": quarantine}


@dataclass(frozen=True)
class Plan:
    """Where a run begins. Made by process 0 and sent to the others; makes and removes nothing."""

    index: Index
    geometry: Geometry
    skipped: tuple[Skipped, ...] = ()
    """Pictures already left out."""
    card: Card | None = None
    """The checkpoint's; None: a new run."""
    tensors: dict[str, torch.Tensor] | None = None
    donor: Donor | None = None
    """The model that a new run's weights come from."""
    stored_size: int | None = None
    """Side at which training pictures are kept, px."""

    @property
    def position(self) -> dict[str, Any]:
        """The checkpoint's; empty for a new run."""
        position: dict[str, Any] = self.card.training["position"] if self.card else {}
        return position


def plan(request: Request, console: Quiet) -> Plan:
    """Return where to begin. Raises UserError for what the user must settle first."""
    folder = request.folder
    if request.is_resumed and folder.has_checkpoint:
        if (before := request.before) and before.folder.last.exists():
            _check_same_settings(read_card(before.folder.last), before, is_over=True)
        card, tensors = folder.read_checkpoint(console)
        if card.kind != "checkpoint":
            raise UserError(f"{folder.last}: not a checkpoint; start again with --overwrite")
        _check_same_settings(card, request)
        size = card.training.get("stored_size", card.geometry.image_size)
        return Plan(read_index(folder.splits), card.geometry, card=card, tensors=tensors, stored_size=size)
    folder.check_free(overwrite=request.overwrite)
    donor = _find_donor(request, console)
    found = read_index(request.data)
    index, skipped = split_index(found, request.config, request.split, request.workers, console)
    geometry = choose_geometry(index, request.spec, request.config, console, donor.card.geometry if donor else None)
    _check_network(request, len(index.classes), geometry, donor)
    size = choose_stored_size(index, geometry, request.config)
    return Plan(index, geometry, tuple(skipped), donor=donor, stored_size=size)


def _find_donor(request: Request, console: Quiet) -> Donor | None:
    if request.init:
        return read_donor(request.init, request.spec.name)
    return fetch_donor(request.spec, request.config, console) if request.config.pretrained else None


def _check_same_settings(card: Card, request: Request, *, is_over: bool = False) -> None:
    """Raise UserError when settings differ in more than how long to go on; of a stage that is over, its sources."""
    old, new = card.training["sources"], request.sources
    if not is_over:
        old, new = TrainConfig().to_json() | card.training["config"] | old, request.config.to_json() | new
    follows = COUNTED if old.get("epochs") != new.get("epochs") else set()
    changed = sorted(name for name in {*old, *new} - LENGTH - follows if old.get(name) != new.get(name))
    if BUILT_IN & set(changed):
        raise UserError(
            f"{request.folder.path} cannot go on as another network, with another input or in another order:\n"
            f"{_listing(old, new, changed)}\nGive the same settings, or choose another folder by --out."
        )
    if changed and not request.allow_changes:
        raise UserError(
            f"{request.folder.path} was started with other settings:\n{_listing(old, new, changed)}\n"
            "Give the same ones, or go on with the new ones by --allow-changes, or start again by --overwrite."
        )
    dealt = card.training.get("split", request.dealing)
    if dealt != request.dealing and not request.allow_changes:
        changed = [name for name in dealt if dealt[name] != request.dealing[name]]
        raise UserError(
            f"{request.folder.path} keeps the split that it was started with:\n"
            f"{_listing(dealt, request.dealing, changed)}\n"
            "Give the same flags, or go on with that split by --allow-changes, or start again by --overwrite."
        )


def _listing(then: Mapping[str, Any], now: Mapping[str, Any], names: Sequence[str]) -> str:
    return "\n".join(f"  {n}: {then.get(n, 'not given')} in the run, {now.get(n, 'not given')} now" for n in names)


def check_same_machine(old: dict[str, Any], new: dict[str, Any], folder: RunFolder, *, allow_changes: bool) -> None:
    """Raise UserError when a run would go on with other threads, processes or device: sums in another order."""
    changed = [name for name in new if old[name] != new[name]]
    if changed and not allow_changes:
        listing = "\n".join(f"  {name}: {old[name]} in the run, {new[name]} now" for name in changed)
        raise UserError(
            f"{folder.path} was started otherwise, and would not end with the same bits:\n{listing}\n"
            "Start it as before, or go on by --allow-changes."
        )


def check_unchanged(card: Card, pictures: TrainingPictures, folder: RunFolder, *, allow_changes: bool) -> None:
    """Raise UserError when the pictures are not those that the run was started with."""
    if pictures.digest != card.training["pictures"] and not allow_changes:
        lost = f" ({len(pictures.skipped)} cannot be read any more)" if pictures.skipped else ""
        raise UserError(
            f"the pictures of {folder.path} have changed since it was started{lost}. Bring them back, or go on with "
            "what is there by --allow-changes, or start again by --overwrite."
        )


def open_run(request: Request, start: Plan, card: Card, pictures: TrainingPictures) -> None:
    """Make the run folder ready, a new run's without the files of an earlier one, and note what begins here."""
    folder, machine = request.folder, card.training["machine"]
    if not start.card:
        if request.within:
            request.within.open_new()
        elif not request.after:
            folder.remove_head()
        folder.open_new()
        write_manifest(folder.splits, pictures.records)
    training = {"train": request.config.to_json(), "machine": machine, "compute": card.training["compute"]}
    training["pictures"] = {"can_mirror": card.training.get("can_mirror", True)}
    folder.write_config({"model": card.model, **training, "geometry": card.geometry.to_json()})
    row = describe_start(request, machine, pictures.skipped, start.index.notes)
    if request.after and not start.card:
        row = with_findings(row, read_history(request.after.folder).starts)
    folder.add_start(row)


def new_card(request: Request, start: Plan, pictures: TrainingPictures, console: Quiet) -> Card:
    """Return what a new run's checkpoints say of themselves; not yet on what and how it is computed."""
    geometry = start.geometry
    if not start.donor:
        geometry = measure_colours(geometry, pictures.training, centre_only=request.config.centre_only)
    small_input, options = _split_options(request, geometry, start.donor)
    training = {
        "config": request.config.to_json(),
        "sources": request.sources,
        "split": request.dealing,
        "pictures": pictures.digest,
        "split_sha256": digest_of_split(pictures.records),
        "stored_size": start.stored_size,
        "can_mirror": can_mirror(pictures.training, request.config, console),
    }
    spec = request.spec
    origin = start.donor.card.origin if start.donor else ""
    return Card(
        "checkpoint", spec.name, options, small_input, pictures.classes, geometry, training, spec.paper, origin=origin
    )


def _check_network(request: Request, num_classes: int, geometry: Geometry, donor: Donor | None) -> None:
    """Raise UserError, before any picture is decoded, when the network cannot be built or takes no such pictures."""
    small_input, own = _split_options(request, geometry, donor)
    with torch.device("meta"):
        model = create_model(request.spec.name, num_classes, geometry.channels, small_input, **own)
    for size in {geometry.image_size, request.config.progressive or geometry.image_size}:
        check_image_size(model, size, geometry.channels)
    if request.config.progressive > geometry.image_size:
        raise UserError(f"--progressive {request.config.progressive}: not above the input's {geometry.image_size} px")
    if request.config.freeze == "backbone":
        check_can_freeze(model, request.spec.name, is_warm=donor is not None)
    if request.config.keep_statistics and donor is None:
        raise UserError(
            "--keep-statistics needs those of weights that were trained before: give them by --pretrained or --init"
        )
    if request.config.centre_only and donor:
        raise UserError("--centre-only: weights that were trained before take pictures as they were trained with")
    check_stages(model, request.spec.name, request.config)
    if donor:
        check_donor(model, request.spec.name, geometry.channels, donor)
    num_bytes = 16 * sum(p.numel() for p in model.parameters())  # weights, gradients, momentum, one copy
    if num_bytes > MAX_BYTES:
        raise UserError(
            f"{request.config.model} with these options needs {num_bytes / 2**30:,.0f} GiB to train; try fewer channels"
        )


def _split_options(request: Request, geometry: Geometry, donor: Donor | None) -> tuple[bool, dict[str, Any]]:
    """Return `small_input` and the network's own options: as set, else as the donor has them, else by the pictures."""
    is_small = request.spec.takes_small_input and geometry.image_size <= SMALL
    options = {"small_input": is_small, **(donor.options if donor else {}), **request.options}
    return options.pop("small_input"), options
