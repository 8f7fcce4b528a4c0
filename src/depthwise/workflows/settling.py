"""What a run's settings become before it begins: nothing is left open that its folder should tell."""

import os
from dataclasses import replace
from pathlib import Path

from depthwise.config import TrainConfig


def settle(config: TrainConfig, init: str | Path | None) -> TrainConfig:
    """Return the configuration with the optimiser's own numbers where none are given, and the teacher's full path."""
    config = config.settled(is_warm=bool(init or config.pretrained))
    return replace(config, teacher=os.path.abspath(config.teacher)) if config.teacher else config
