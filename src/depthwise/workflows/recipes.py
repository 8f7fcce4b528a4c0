"""Recipes: named settings for a training run, one TOML file each in `depthwise/recipes`.

A file's first comment says what it is for, its command, and what was measured with it. Its keys are `TrainConfig`'s
fields; a table `[head]` holds what differs in an earlier stage that trains the last layer alone, on frozen features.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

from depthwise.config import TrainConfig
from depthwise.data.augment import CROPS
from depthwise.errors import UserError
from depthwise.rules import PLATEAU_EPOCHS, idle, is_cut
from depthwise.workflows.run_folder import HEAD

USUAL = {field.name: field.default for field in fields(TrainConfig)}


@dataclass(frozen=True)
class Recipe:
    """Settings under a name."""

    name: str
    says: str
    """Its first comment: what it is for, its command, what was measured."""
    values: dict[str, Any] = field(default_factory=dict)
    """`TrainConfig`'s fields that differ from the defaults."""
    head: dict[str, Any] | None = None
    """What differs in the stage before; None: there is none."""

    def stages(self, wishes: Mapping[str, Any]) -> list[TrainConfig]:
        """Return the configuration of each stage, in their order: the recipe's, with `wishes` above it.

        What of the recipe makes no sense beside a wish gives way to it. The wishes concern the last stage; of those, an
        earlier one takes over what the recipe does not set for it, and what frozen layers can do with.
        """
        last = {**beside(self.values, wishes), **wishes, "recipe": self.name}
        if self.head is None:
            return [_config(last)]
        head = {name: value for name, value in last.items() if name not in NOT_FROZEN}
        own = _belonging(self.head, {**self.values, **self.head}, wishes)
        for chief, belonging in BELONG.items():  # what is meant for the last stage's optimiser is not for another one
            if chief in own and own[chief] != last.get(chief, USUAL[chief]):
                head = {name: value for name, value in head.items() if name not in belonging}
        head |= own
        in_vain = idle({**USUAL, **head}, USUAL)
        head = {name: value for name, value in head.items() if name not in in_vain}
        last = {name: value for name, value in last.items() if name not in ONLY_FROZEN}
        return [_config(head), _config(last)]


NOT_FROZEN = ("teacher", "distill_weight", "distill_temperature", "layer_decay", "unfreeze_after", "keep_statistics")
"""Settings that concern layers which a stage on frozen features does not train."""
ONLY_FROZEN = ("frozen_views",)
"""Settings that concern that stage alone."""
BELONG = {
    "model": ("set",),
    "optimizer": ("lr", "momentum", "weight_decay", "nesterov", "rms_decay", "epsilon", "keep_statistics"),
    "schedule": ("decay", "decay_every", "milestones"),
}
"""Settings that hold for one network, optimiser or schedule: a wish for another one leaves them behind. Batch norm with
its statistics kept holds back no step that is too large: SGD at its usual rate ends at chance with it."""
ONE_OF = (("warmup", "warmup_epochs", "warmup_steps"), ("decay_every", "milestones"), CROPS)
"""Settings of which one is enough: a wish for one leaves the others behind, but that a rule for where to cut is off."""


def beside(values: Mapping[str, Any], wishes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe's values that go with the wishes; what is counted in epochs follows a wish for fewer or more."""
    kept = {name: value for name, value in values.items() if name not in wishes}
    kept = _belonging(kept, values, wishes)
    for group in ONE_OF:
        if any(is_cut(wishes.get(name)) if group is CROPS else wishes.get(name) is not None for name in group):
            kept = {name: value for name, value in kept.items() if name not in group}
    if "epochs" in wishes and "epochs" in values:
        wait = int(kept.get("decay_every") or PLATEAU_EPOCHS)
        kept |= _stretched(kept, wishes["epochs"] / values["epochs"])
        if {**kept, **wishes}.get("schedule") == "plateau" and "decay_every" not in wishes:
            kept["decay_every"] = _shorter_wait(wait, values["epochs"], wishes["epochs"])
    in_vain = idle({**USUAL, **kept, **wishes}, USUAL)
    return {name: value for name, value in kept.items() if name not in in_vain}


def _belonging(kept: Mapping[str, Any], values: Mapping[str, Any], wishes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `kept` without a network, optimiser, schedule and what holds for it, where another one is wished for."""
    others = {chief for chief in BELONG if chief in wishes and wishes[chief] != values.get(chief, USUAL[chief])}
    left = others | {name for chief in others for name in BELONG[chief]}
    return {name: value for name, value in kept.items() if name not in left}


def _shorter_wait(wait: int, usual: int, epochs: int) -> int:
    """Return how many epochs `plateau` waits in a run of another length: 2 at least, or it is chance that it sees."""
    return min(wait, epochs, max(2, wait * epochs // usual))


def _stretched(values: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """Return what of these is counted in epochs, times the factor."""
    found: dict[str, Any] = {}
    if values.get("warmup_epochs") is not None:
        found["warmup_epochs"] = values["warmup_epochs"] * factor
    if values.get("decay_every") is not None:
        found["decay_every"] = max(0.01, values["decay_every"] * factor)
    if values.get("milestones") is not None:
        epochs = (round(float(part) * factor, 3) for part in values["milestones"].split(","))
        found["milestones"] = ",".join(f"{epoch:g}" for epoch in epochs)
    return found


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with depthwise."""
    folder = resources("depthwise.recipes")
    return sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".toml"))


def read_recipe(name: str) -> Recipe:
    """Return the recipe of that name, or that of a TOML file. Raises UserError for an unknown or a wrong one."""
    if name == "none":
        return Recipe(name, "The defaults of depthwise train.")
    if name.endswith(".toml"):
        path = Path(name)
        try:
            return _parse(path.stem, path.read_text(encoding="utf-8"), name)
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"--recipe {name}: cannot be read: {error}") from error
    if name not in recipe_names():
        listing = ", ".join(["auto", "none", *recipe_names()])
        raise UserError(f"--recipe {name}: there is none of that name. There are: {listing}; or a .toml file of yours")
    return _parse(name, (resources("depthwise.recipes") / f"{name}.toml").read_text(encoding="utf-8"), name)


def _parse(name: str, text: str, source: str) -> Recipe:
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"--recipe {source}: not a TOML file: {error}") from error
    head = values.pop(HEAD, None)
    unknown = sorted({*values, *(head or {})} - USUAL.keys())
    if unknown:
        raise UserError(f"--recipe {source}: no settings of depthwise train: {', '.join(unknown)}")
    recipe = Recipe(name, _first_comment(text), values, head)
    try:
        recipe.stages({})
    except UserError as error:
        raise UserError(f"--recipe {source}: {error}") from error
    return recipe


def _first_comment(text: str) -> str:
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("#").strip())
    return "\n".join(lines)


def _config(values: dict[str, Any]) -> TrainConfig:
    settings: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
    return TrainConfig(**settings)
