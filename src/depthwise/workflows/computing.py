"""On what and how a run is computed: settled for a new run, stored with it, the same when it goes on."""

from typing import Any

import torch

from depthwise.artifact import Card
from depthwise.config import TrainConfig
from depthwise.console import Quiet
from depthwise.errors import UserError
from depthwise.training.choice import MOST_IMAGES, Wish, check_can, choose, warn_of_precision
from depthwise.training.compute import Method
from depthwise.training.distributed import Group
from depthwise.training.step import Task
from depthwise.workflows.devices import choose_device, set_threads
from depthwise.workflows.training_start import Plan, Request, check_same_machine

WISHES = ("precision", "kernels", "compile")


def settle_machine(request: Request, start: Plan, group: Group) -> dict[str, Any]:
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


def settle_method(request: Request, start: Plan, card: Card, device: str, num_images: int, console: Quiet) -> Method:
    """Return how the run's steps are computed: as it has them, else as asked for, by rule or by measuring.

    `num_images` are shown in an epoch. Raises UserError when this machine cannot go on as the run was started.
    """
    config = request.config
    wishes = {name: getattr(config, name) for name in WISHES}
    if start.card and _kept_wishes(start.card) == wishes:
        method = Method.from_json(start.card.training["compute"])
        if wishes["precision"] == "bf16":  # asked for by name, so with a warning as at the start
            warn_of_precision(Wish(**wishes), torch.device(device), console)
            return method
        try:
            check_can(method, torch.device(device))
            return method
        except UserError as error:
            if not request.allow_changes:
                raise UserError(
                    f"{request.folder.path} cannot go on here: {error}.\nGo on with it where it was started, "
                    "or let it be computed otherwise by --allow-changes."
                ) from error
    task = Task(
        model=card.model,
        num_classes=len(card.classes),
        in_channels=card.geometry.channels,
        small_input=card.small_input,
        options=card.options,
        image_size=card.geometry.image_size,
        batch_size=max(2, config.batch_size // config.accumulate),
        device=device,
    )
    num_trained = 0 if config.freeze == "backbone" else num_images * config.epochs  # a head alone takes no time
    choice = choose(task, Wish(**wishes), num_trained, console)
    if choice.times_s:
        times = ", ".join(f"{name} {seconds:.3g} s" for name, seconds in choice.times_s.items())
        console.say(f"A step of {min(task.batch_size, MOST_IMAGES)} pictures on this machine: {times}.")
    return choice.method


def _kept_wishes(card: Card) -> dict[str, Any]:
    config = TrainConfig().to_json() | card.training["config"]
    return {name: config[name] for name in WISHES}
