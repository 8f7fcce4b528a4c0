"""`train --init MODEL`: a new run whose weights come from another model file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from depthwise import artifact
from depthwise.artifact import Card
from depthwise.errors import UserError
from depthwise.workflows.run_folder import find_model

HEAD = "classifier"
"""What every network calls its last layer, with a row of weights per class."""


@dataclass(frozen=True)
class Donor:
    """A model file that gives its weights."""

    card: Card
    tensors: dict[str, Tensor]
    path: Path


def read_donor(path: Path, model: str) -> Donor:
    """Read the model file, or the best one of a run folder. Raises UserError when it is not of the network `model`."""
    file = find_model(path)
    card, tensors = artifact.read(file)
    if card.kind != "model":
        raise UserError(f"--init {path}: a checkpoint to go on from, not a model; take best.safetensors beside it")
    if card.model != model:
        raise UserError(f"--init {path} is a {card.model}, not a {model}: add --model {card.model}")
    return Donor(card, tensors, path)


def check_donor(model: nn.Module, name: str, options: dict[str, Any], channels: int, donor: Donor) -> None:
    """Raise UserError when the network `name`, built as `model` (without weights), cannot start from the donor.

    `options` are the network's own and `small_input`.
    """
    if not isinstance(getattr(model, HEAD, None), nn.Linear):
        raise UserError(f"--init: {name} has no linear layer called {HEAD!r} as its last; it cannot start from a model")
    theirs = {**donor.card.options, "small_input": donor.card.small_input}
    changed = [key for key in {**theirs, **options} if options.get(key) != theirs.get(key)]
    if changed:
        flags = " ".join(f"--set {key}={theirs[key]}".lower() if key in theirs else f"no {key}" for key in changed)
        raise UserError(f"--init {donor.path} was built with other options; give the same ones: {flags}")
    if channels != donor.card.geometry.channels:
        raise UserError(f"--init {donor.path} takes {donor.card.geometry.channels} channels: leave --channels out")


def take_over(model: nn.Module, classes: tuple[str, ...], donor: Donor) -> str:
    """Copy the donor's weights into `model`; classes go by name, new ones keep their fresh rows. Return what was done.

    Raises UserError when the weights do not fit.
    """
    head: nn.Module = getattr(model, HEAD)
    tensors = dict(donor.tensors)
    kept = [name for name in classes if name in donor.card.classes]
    to = torch.tensor([classes.index(name) for name in kept], dtype=torch.long)
    of = torch.tensor([donor.card.classes.index(name) for name in kept], dtype=torch.long)
    for name, fresh in head.state_dict().items():
        tensors[f"{HEAD}.{name}"] = fresh.clone().index_copy_(0, to, tensors[f"{HEAD}.{name}"][of])
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise UserError(f"--init {donor.path}: its weights do not fit this {donor.card.model}: {error}") from error
    return _account(classes, donor)


def _account(classes: tuple[str, ...], donor: Donor) -> str:
    kept = [name for name in classes if name in donor.card.classes]
    new = [name for name in classes if name not in donor.card.classes]
    gone = [name for name in donor.card.classes if name not in classes]
    parts = [f"{label}: {', '.join(names)}" for label, names in (("kept", kept), ("new", new), ("gone", gone)) if names]
    return f"Starting from {donor.path}. Classes " + "; ".join(parts)
