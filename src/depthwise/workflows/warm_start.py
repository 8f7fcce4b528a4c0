"""`train --init MODEL`: a new run whose weights come from another model file."""

from dataclasses import dataclass
from pathlib import Path

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


def take_over(model: nn.Module, card: Card, donor: Donor) -> str:
    """Copy the donor's weights into `model`; classes go by name, new ones keep their fresh rows. Return what was done.

    Raises UserError when the last layer is not linear, or the weights do not fit.
    """
    head = getattr(model, HEAD, None)
    if not isinstance(head, nn.Linear):
        raise UserError(
            f"--init: {card.model} has no linear layer called {HEAD!r} as its last; it cannot start from a model"
        )
    _check_same_options(card, donor)
    tensors = dict(donor.tensors)
    kept = [name for name in card.classes if name in donor.card.classes]
    to = torch.tensor([card.classes.index(name) for name in kept], dtype=torch.long)
    of = torch.tensor([donor.card.classes.index(name) for name in kept], dtype=torch.long)
    for name, fresh in head.state_dict().items():
        tensors[f"{HEAD}.{name}"] = fresh.clone().index_copy_(0, to, tensors[f"{HEAD}.{name}"][of])
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise UserError(f"--init {donor.path}: its weights do not fit this {card.model}: {error}") from error
    return _account(card.classes, donor)


def _check_same_options(card: Card, donor: Donor) -> None:
    mine, theirs = ({**c.options, "small_input": c.small_input} for c in (card, donor.card))
    changed = [name for name in {**theirs, **mine} if mine.get(name) != theirs.get(name)]
    if changed:
        flags = " ".join(f"--set {name}={theirs[name]}".lower() if name in theirs else f"no {name}" for name in changed)
        raise UserError(f"--init {donor.path} was built with other options; give the same ones: {flags}")
    if card.geometry.channels != donor.card.geometry.channels:
        raise UserError(f"--init {donor.path} takes {donor.card.geometry.channels} channels: leave --channels out")


def _account(classes: tuple[str, ...], donor: Donor) -> str:
    kept = [name for name in classes if name in donor.card.classes]
    new = [name for name in classes if name not in donor.card.classes]
    gone = [name for name in donor.card.classes if name not in classes]
    parts = [f"{label}: {', '.join(names)}" for label, names in (("kept", kept), ("new", new), ("gone", gone)) if names]
    return f"Starting from {donor.path}. Classes " + "; ".join(parts)
