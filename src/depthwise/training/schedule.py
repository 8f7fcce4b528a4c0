"""The learning rate: a function of the step, and for `plateau` of the validations so far."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from depthwise.config import TrainConfig
from depthwise.errors import UserError
from depthwise.rules import PLATEAU_EPOCHS

END = 0.01
"""Share of the highest rate at which `exponential` ends unless told otherwise."""
TENTH = 0.1
"""What `step` and `plateau` multiply by unless told otherwise: AlexNet's and ResNet's."""
Row = Mapping[str, Any]


def learning_rate(step: int, steps_per_epoch: int, config: TrainConfig, history: Sequence[Row] = ()) -> float:
    """Return the learning rate of step 0 ... epochs * steps_per_epoch - 1.

    It rises linearly to its highest in warm-up (Goyal et al. 2017, arXiv:1706.02677, section 2.2); then it is that
    times the schedule's factor. `history`: the rows of metrics.jsonl of the epochs before, which `plateau` looks at.
    """
    num_steps, num_warmup = config.epochs * steps_per_epoch, num_warmup_steps(steps_per_epoch, config)
    if step < num_warmup:
        return config.peak_lr * (step + 1) / (num_warmup + 1)
    share = min(1.0, (step - num_warmup) / (num_steps - num_warmup))  # above 1 where pictures were taken away since
    return config.peak_lr * _factor(step, steps_per_epoch, share, config, history)


def num_warmup_steps(steps_per_epoch: int, config: TrainConfig) -> int:
    """Return in how many steps the learning rate rises."""
    if config.warmup_steps is not None:
        return config.warmup_steps
    if config.warmup_epochs is not None:
        return round(config.warmup_epochs * steps_per_epoch)
    return round(config.warmup * config.epochs * steps_per_epoch)


def check_warmup(steps_per_epoch: int, config: TrainConfig) -> None:
    """Raise UserError when warm-up takes all steps."""
    num_steps, num_warmup = config.epochs * steps_per_epoch, num_warmup_steps(steps_per_epoch, config)
    if num_warmup >= num_steps:
        raise UserError(
            f"warm-up of {num_warmup:,} steps takes all of the run: {num_steps:,} in {config.epochs} epochs. Give "
            "fewer --warmup-steps or --warmup-epochs, or more --epochs."
        )


def _factor(step: int, steps_per_epoch: int, share: float, config: TrainConfig, history: Sequence[Row]) -> float:
    """Return the share of the highest rate; `share`: of the steps after warm-up, how many are done."""
    epoch = step / steps_per_epoch
    match config.schedule:
        case "cosine":
            return cosine(share)
        case "linear":
            return 1 - share
        case "step" if config.milestones:
            return (config.decay or TENTH) ** sum(milestone <= epoch for milestone in config.milestone_epochs)
        case "step":
            return staircase(epoch, config.decay or TENTH, config.decay_every or config.epochs / 3)
        case "exponential":
            every = config.decay_every or 1
            return exponential(epoch, config.decay or END ** (every / config.epochs), every)
        case "plateau":
            wait = int(config.decay_every or PLATEAU_EPOCHS)
            return (config.decay or TENTH) ** num_plateaus(history, wait)
        case "constant":
            return 1.0


def cosine(share: float) -> float:
    """Return half a cosine, from 1 to 0 (Loshchilov & Hutter 2017, arXiv:1608.03983, equation 5)."""
    return 0.5 * (1 + math.cos(math.pi * share))


def staircase(epoch: float, decay: float, every: float) -> float:
    """Return the factor that is multiplied by `decay` after `every` epochs, each time at once.

    ResNet's (He et al. 2015, arXiv:1512.03385, section 3.4); and TensorFlow's exponential_decay with staircase=True, as
    MobileNet's and EfficientNet's authors use it: 0.98 every epoch, 0.97 every 2.4 epochs.
    """
    num_steps = math.floor(epoch / every + 1e-9)  # 3 * 2.4 / 2.4 may come out below 3
    return decay**num_steps


def exponential(epoch: float, decay: float, every: float) -> float:
    """Return the factor that falls by `decay` in `every` epochs, a little in each step.

    The smooth form of the papers' text: MobileNetV3 "decay rate of 0.01 every 3 epochs" (0.99 every 3; Howard et al.
    2019, arXiv:1905.02244, section 6.1.1), EfficientNet 0.97 every 2.4 (Tan & Le 2019, arXiv:1905.11946, section 5.2).
    """
    return float(decay ** (epoch / every))


def num_plateaus(history: Sequence[Row], wait: int) -> int:
    """Return how often validation went `wait` epochs without a new best; after each, counting begins anew.

    AlexNet's rule, there by hand: divide the rate by 10 "when the validation error rate stopped improving with the
    current learning rate" (Krizhevsky et al. 2012, section 5). Better is as for the best epoch: more right answers, of
    equals the lower loss.
    """
    best, waited, found = (-math.inf, -math.inf), 0, 0
    for row in history:
        now = (row["valid_top1"], -row["valid_loss"])
        waited = 0 if now > best else waited + 1
        best = max(best, now)
        if waited == wait:
            waited, found = 0, found + 1
    return found


def is_finished(epoch: int, best_epoch: int, config: TrainConfig) -> bool:
    """Tell whether a run is over after `epoch` epochs: all are done, or none of the last `patience` was the best.

    `best_epoch` is 0 while an earlier stage's model is the best. Early stopping (Prechelt 1998, "Early Stopping - But
    When?", criterion UP with the best so far as the measure).
    """
    has_stalled = config.patience is not None and epoch - best_epoch >= config.patience
    return epoch >= config.epochs or has_stalled
