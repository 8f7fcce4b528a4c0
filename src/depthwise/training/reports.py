"""What the training loop tells after each step, each batch of validation, each epoch."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthwise.data.order import Ids
from depthwise.metrics import Logits


@dataclass(frozen=True)
class StepReport:
    """One optimiser step is done; the state may be saved here."""

    step: int
    loss: float
    ids: Ids
    """The samples that this process has learnt from in it."""


@dataclass(frozen=True)
class ValidationReport:
    """A batch was looked at between two epochs; a state saved here goes on after the epoch's last step."""


@dataclass(frozen=True)
class EpochReport:
    """One epoch is done and validated; the state may be saved here."""

    row: dict[str, Any]
    """What goes into metrics.jsonl: no clock in it."""
    train_s: float
    """Seconds spent in this epoch's steps, since this process began it."""
    valid_s: float
    num_images: int
    """Training pictures seen in train_s."""
    is_best: bool
    logits: Logits
    """Of the validation pictures (N, K), with their labels (N,): what a temperature is fitted on."""
    labels: NDArray[np.int64]


Report = StepReport | ValidationReport | EpochReport
