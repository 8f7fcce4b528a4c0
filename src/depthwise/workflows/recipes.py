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
from depthwise.errors import UserError

HEAD = "head"
FIELDS = {field.name for field in fields(TrainConfig)}


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

        The wishes concern the last stage; of those, an earlier one takes over what the recipe does not set for it.
        """
        last = {**self.values, **wishes, "recipe": self.name}
        stages = [] if self.head is None else [{**last, **self.head}]
        return [_config(values, self.name) for values in (*stages, last)]


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
    unknown = sorted({*values, *(head or {})} - FIELDS)
    if unknown:
        raise UserError(f"--recipe {source}: no settings of depthwise train: {', '.join(unknown)}")
    recipe = Recipe(name, _first_comment(text), values, head)
    recipe.stages({})  # wrong values are found here
    return recipe


def _first_comment(text: str) -> str:
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("#").strip())
    return "\n".join(lines)


def _config(values: dict[str, Any], name: str) -> TrainConfig:
    settings: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
    try:
        return TrainConfig(**settings)
    except TypeError as error:  # a word where a number should be
        raise UserError(f"--recipe {name}: {error}") from error
