"""What a run's settings become before it begins: nothing is left open that its folder should tell."""

import os
from dataclasses import replace
from pathlib import Path

from depthwise.config import TrainConfig
from depthwise.errors import UserError


def refuse_rivals(init: str | Path | None, pretrained: str | None, resume: str, *, overwrite: bool) -> None:
    """Raise UserError for arguments of training that contradict each other."""
    if init and pretrained:
        raise UserError("--init and --pretrained both name weights to start from: give one of them")
    if resume == "auto" and overwrite:
        raise UserError("--resume goes on with a run, --overwrite replaces it: give one of them")


def settle(config: TrainConfig, init: str | Path | None) -> TrainConfig:
    """Return the configuration with the optimiser's own numbers where none are given, and the teacher's full path.

    Raises UserError for what spares weights that were trained before, where there are none.
    """
    is_warm = bool(init or config.pretrained)
    if not is_warm and (config.num_frozen_stages or config.layer_decay < 1):
        flag = f"--freeze {config.freeze}" if config.num_frozen_stages else f"--layer-decay {config.layer_decay:g}"
        raise UserError(f"{flag} spares weights that were trained before: give them by --pretrained or --init")
    config = config.settled(is_warm=is_warm)
    return replace(config, teacher=os.path.abspath(config.teacher)) if config.teacher else config
