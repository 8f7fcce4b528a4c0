"""`depthwise train`: a recipe's stages, one run after the other; the best model of all of them is kept."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from depthwise.config import SplitConfig, TrainConfig
from depthwise.console import Quiet
from depthwise.data.audit import Skipped
from depthwise.data.index import read_index
from depthwise.errors import UserError
from depthwise.training.distributed import join
from depthwise.workflows.recipe_choice import choose_recipe, recorded_recipe
from depthwise.workflows.recipes import Recipe, read_recipe, recipe_names
from depthwise.workflows.run_folder import HEAD, RunFolder
from depthwise.workflows.run_record import command_line
from depthwise.workflows.settling import refuse_rivals
from depthwise.workflows.training import TrainResult, default_folder
from depthwise.workflows.training import train as train_once
from depthwise.workflows.training_start import Earlier

OWN = "none"
"""The recipe where training starts from a model of ours, which knows its own settings best."""


def train(
    data: str | Path,
    out: str | Path | None = None,
    config: TrainConfig | Mapping[str, Any] | None = None,
    split: SplitConfig | Mapping[str, Any] | None = None,
    *,
    init: str | Path | None = None,
    console: Quiet | None = None,
    **how: Any,
) -> TrainResult:
    """Train on `data` and keep everything in the folder `out`, by a recipe.

    `config` gives settings that differ from the recipe's, by `TrainConfig`'s names; `recipe` among them names it, and
    is "auto" otherwise: chosen by the pictures. A whole `TrainConfig` is taken as it is, without a recipe. `split` says
    how pictures without one are dealt out, by `SplitConfig`'s names; its seed is the run's unless given. `how` is
    passed on to `workflows.training.train`, which tells its arguments and what it raises. A recipe with a stage before
    the last trains that one in the folder `out`/head, and starts the last from it; should that not be better on the
    validation pictures, the earlier stage's model stays `out`'s best.
    """
    if isinstance(config, TrainConfig):
        dealing = SplitConfig.of(split, config.seed)
        return train_once(data, out, config, dealing, init=init, console=console, **how)
    is_first = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun started, one talks
    console, wishes = console if console and is_first else Quiet(), dict(config or {})
    refuse_rivals(init, wishes.get("pretrained"), how.get("resume", "never"), overwrite=how.get("overwrite", False))
    is_going_on = how.get("resume") == "auto"
    begun = Path(out) if out and is_going_on else None
    with join("cpu") as group:  # the run folder is on the first one's machine
        recipe, name, wishes = group.first(lambda: settle_recipe(Path(data), begun, wishes, init, console, split))
        stages = recipe.stages(wishes)
        folder = RunFolder(Path(out) if out else default_folder(data, stages[-1].model))
        is_begun = group.first(lambda: is_going_on and folder.has_checkpoint)
    how["split"] = SplitConfig.of(split, stages[-1].seed)
    if len(stages) == 1:
        return train_once(data, folder.path, stages[0], init=init, console=console, **how)
    told = [name for name in ("split", "threads", "device", "tensorboard") if name in how]
    command = command_line(
        *(data, folder.path, {"recipe": name, **wishes}),
        init=init,
        is_resumed=is_going_on,
        **{name: how[name] for name in told},
    )
    return _train_both(data, folder, stages, init, console, {**how, "command": command}, is_begun=is_begun)


def settle_recipe(
    data: Path,
    begun: Path | None,
    wishes: Mapping[str, Any],
    init: str | Path | None,
    console: Quiet,
    split: SplitConfig | Mapping[str, Any] | None = None,
) -> tuple[Recipe, str, dict[str, Any]]:
    """Return the recipe asked for, with what it is called by, and the wishes without it.

    For "auto" that of the run `begun`, which is to go on, else the one that suits the pictures. With `init` none, and
    of one that is named all but its weights.
    """
    wishes = {"pretrained": None, **wishes} if init else dict(wishes)
    name = wishes.pop("recipe", OWN if init else "auto")
    if name != "auto":
        return read_recipe(name), name, wishes
    if recorded := recorded_recipe(begun) if begun else None:
        if recorded not in ("none", *recipe_names()):
            raise UserError(f"{begun} was started with a recipe of yours, {recorded}: name its file again by --recipe")
        return read_recipe(recorded), recorded, wishes
    choice = choose_recipe(read_index(data), wishes, SplitConfig.of(split, 0))
    console.say(f"Recipe {choice.name}: {choice.why}. (Another one: --recipe NAME)")
    return read_recipe(choice.name), choice.name, wishes


def _train_both(
    data: str | Path,
    folder: RunFolder,
    stages: list[TrainConfig],
    init: str | Path | None,
    console: Quiet,
    how: dict[str, Any],
    *,
    is_begun: bool,
) -> TrainResult:
    first = RunFolder(folder.path / HEAD)
    skipped: tuple[Skipped, ...] = ()
    earlier = Earlier(first, Path(data), Path(init) if init else None, stages[0], how["split"])
    if not is_begun:
        folder.check_free(overwrite=how.get("overwrite", False))
        console.say("Stage 1 of 2: the last layer alone, on what the frozen layers make of the pictures.")
        skipped = train_once(data, first.path, stages[0], init=init, within=folder, console=console, **how).skipped
    if os.environ.get("RANK", "0") == "0" and not first.best.exists():
        raise UserError(f"{first.path} is gone, which {folder.path} began with; start again by --overwrite")
    console.say("Stage 2 of 2: all layers.")
    last, rest = replace(stages[-1], pretrained=None), {**how, "split": None}
    result = train_once(first.splits, folder.path, last, init=first.path, after=earlier, console=console, **rest)
    if result.best_epoch == 0:
        console.say("The last layer alone did better on the validation pictures: its model is kept.")
    return replace(result, skipped=(*skipped, *result.skipped))
