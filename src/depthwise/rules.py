"""Which settings of a training run make sense together. `given` is all of a TrainConfig, by name."""

import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from depthwise.errors import UserError

Settings = Mapping[str, Any]
PLATEAU_EPOCHS = 5
"""Epochs without improvement after which `plateau` lowers the learning rate, unless told otherwise."""
FALLING = ("step", "exponential", "plateau")

NEEDS: dict[str, tuple[str, Callable[[Settings], bool]]] = {
    "nesterov": ("--optimizer sgd", lambda given: given["optimizer"] == "sgd"),
    "rms_decay": ("--optimizer rmsprop", lambda given: given["optimizer"] == "rmsprop"),
    "epsilon": ("--optimizer rmsprop or adamw", lambda given: given["optimizer"] != "sgd"),
    "decay": ("--schedule step, exponential or plateau", lambda given: given["schedule"] in FALLING),
    "decay_every": ("--schedule step, exponential or plateau", lambda given: given["schedule"] in FALLING),
    "milestones": ("--schedule step", lambda given: given["schedule"] == "step"),
    "unfreeze_after": ("--freeze stages:N", lambda given: given["freeze"].startswith("stages:")),
    "frozen_views": ("--freeze backbone", lambda given: given["freeze"] == "backbone"),
    "distill_weight": ("--teacher", lambda given: given["teacher"] is not None),
    "distill_temperature": ("--teacher", lambda given: given["teacher"] is not None),
}
"""Settings that do nothing but with others: the flag to add, and the test whether it is there."""

RIVALS = (
    ("warmup_epochs", "warmup_steps", "both say how long warm-up is"),
    ("milestones", "decay_every", "both say when the learning rate decays"),
)


def flag(name: str) -> str:
    """Return the flag of a setting."""
    return f"--{name.replace('_', '-')}"


def idle(given: Settings, usual: Settings) -> dict[str, str]:
    """Return the settings that differ from `usual` in vain, each with the flag that it needs."""
    return {name: need for name, (need, is_met) in NEEDS.items() if given[name] != usual[name] and not is_met(given)}


def check_idle(given: Settings, usual: Settings) -> None:
    """Raise UserError for a setting that does nothing without another one."""
    for name, need in idle(given, usual).items():
        raise UserError(f"{flag(name)} {given[name]} does nothing without {need}: add that, or leave it out")


def check_rivals(given: Settings) -> None:
    """Raise UserError for two settings that say the same, or of which one undoes the other."""
    for one, other, why in RIVALS:
        if given[one] is not None and given[other] is not None:
            raise UserError(f"{flag(one)} and {flag(other)}: {why}; give one of them")
    if given["freeze"] != "backbone":
        return
    if given["layer_decay"] < 1:
        raise UserError("--layer-decay slows stages that --freeze backbone stops altogether; give one of them")
    if given["teacher"] is not None:
        raise UserError("--teacher looks at each picture anew, --freeze backbone looks only once; give one of them")
    if given["frozen_views"] > 1 and (given["mixup"] or given["cutmix"]):
        raise UserError(
            "--mixup and --cutmix blend pictures anew in each epoch, --frozen-views keeps what the network makes of "
            "each alone: leave one of them out"
        )


def check_freeze(given: Settings) -> None:
    """Raise UserError for what `freeze` cannot be."""
    if not re.fullmatch(r"none|backbone|stages:[1-9][0-9]{0,3}", given["freeze"]):
        raise UserError(f"--freeze {given['freeze']}: allowed are none, backbone, and stages:N with N from 1")


def check_milestones(given: Settings) -> None:
    """Raise UserError when the milestones are no rising whole numbers."""
    if given["milestones"] is None:
        return
    parts = given["milestones"].split(",")
    are_numbers = all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts)
    if not are_numbers or any(int(one) >= int(other) for one, other in pairwise(parts)):
        raise UserError(f"--milestones {given['milestones']}: expected rising numbers of epochs, e.g. 30,60,90")


def check_plateau(given: Settings) -> None:
    """Raise UserError when `plateau` would wait for a part of an epoch, or longer than the run."""
    if given["schedule"] != "plateau":
        return
    wait = given["decay_every"] or PLATEAU_EPOCHS
    if wait % 1:
        raise UserError(f"--decay-every {wait:g}: with --schedule plateau a whole number of epochs")
    if given["patience"] is not None and given["patience"] <= wait:
        raise UserError(
            f"--patience {given['patience']} stops before --schedule plateau has lowered the rate, which it does after "
            f"{wait:g} epochs without a better one: give more patience, or a smaller --decay-every"
        )
