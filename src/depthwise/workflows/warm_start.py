"""`train --init MODEL` and `--pretrained`: a new run whose weights come from another model file or from others."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from depthwise import artifact
from depthwise.artifact import Card
from depthwise.config import TrainConfig
from depthwise.console import Quiet
from depthwise.errors import UserError
from depthwise.models.registry import ModelSpec
from depthwise.workflows.importing import read_import
from depthwise.workflows.run_folder import find_model

MOST_NAMES = 8
"""More names of classes would not be read."""
HEAD = "classifier"
"""What every network calls its last layer, with a row of weights per class."""


@dataclass(frozen=True)
class Donor:
    """A model file that gives its weights."""

    card: Card
    tensors: dict[str, Tensor]
    flag: str
    """The flag that named it, for messages."""

    @property
    def options(self) -> dict[str, Any]:
        """The network's own options and `small_input`, as the weights were trained with."""
        return {**self.card.options, "small_input": self.card.small_input}


def read_donor(path: Path, model: str) -> Donor:
    """Read the model file, or the best one of a run folder. Raises UserError when it is not of the network `model`."""
    file = find_model(path)
    card, tensors = artifact.read(file)
    if card.kind != "model":
        raise UserError(f"--init {path}: a checkpoint to go on from, not a model; take best.safetensors beside it")
    if card.model != model:
        raise UserError(f"--init {path} is a {card.model}, not a {model}: add --model {card.model}")
    return Donor(card, tensors, f"--init {path}")


def fetch_donor(spec: ModelSpec, config: TrainConfig, console: Quiet) -> Donor:
    """Return others' weights as a donor, for pictures of the paper's size at most. Raises UserError."""
    assert config.pretrained is not None
    card, tensors = read_import(spec.name, config.pretrained, settings=config.set, console=console)
    size = min(card.geometry.image_size, spec.image_size)
    card = replace(card, geometry=replace(card.geometry, image_size=size))
    return Donor(card, tensors, f"--pretrained {config.pretrained}")


def check_donor(model: nn.Module, name: str, channels: int, donor: Donor) -> None:
    """Raise UserError when the network `name`, built as `model` (without weights), cannot start from the donor."""
    if not isinstance(getattr(model, HEAD, None), nn.Linear):
        raise UserError(
            f"{donor.flag}: {name} has no linear layer called {HEAD!r} as its last; it cannot start from a model"
        )
    if channels != donor.card.geometry.channels:
        raise UserError(f"{donor.flag} takes {donor.card.geometry.channels} channels: leave --channels out")
    for key, value in model.state_dict().items():
        if not key.startswith(f"{HEAD}.") and getattr(donor.tensors.get(key), "shape", None) != value.shape:
            options = ", ".join(f"{option}={setting}" for option, setting in donor.options.items())
            raise UserError(f"{donor.flag} has other shapes than this {name}, at {key}; it was built with {options}")


def take_over(model: nn.Module, classes: tuple[str, ...], donor: Donor) -> str:
    """Copy the donor's weights into `model`; classes go by name, new ones keep their fresh rows. Return what was done.

    `check_donor` has seen that they fit.
    """
    head: nn.Module = getattr(model, HEAD)
    tensors = dict(donor.tensors)
    kept = [name for name in classes if name in donor.card.classes]
    to = torch.tensor([classes.index(name) for name in kept], dtype=torch.long)
    of = torch.tensor([donor.card.classes.index(name) for name in kept], dtype=torch.long)
    for name, fresh in head.state_dict().items():
        tensors[f"{HEAD}.{name}"] = fresh.clone().index_copy_(0, to, tensors[f"{HEAD}.{name}"][of])
    model.load_state_dict(tensors)
    return _account(classes, donor)


def _account(classes: tuple[str, ...], donor: Donor) -> str:
    kept = [name for name in classes if name in donor.card.classes]
    new = [name for name in classes if name not in donor.card.classes]
    gone = [name for name in donor.card.classes if name not in classes]
    parts = [f"{label}: {_listed(names)}" for label, names in (("kept", kept), ("new", new), ("gone", gone)) if names]
    return f"Starting from {donor.flag.split(' ', 1)[1]}. Classes " + "; ".join(parts)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more
