"""What a run is asked to do: frozen, checked when made, saved with the model. Fields are the command line's flags."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from depthwise.errors import UserError

MAX_SEED = 2**32 - 1
LR_FRESH, LR_TUNED = 0.1, 0.01
"""Learning rates for fresh weights and for weights that were trained before."""


def _check_range(name: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not low <= value <= high:
        raise UserError(f"--{name.replace('_', '-')} {value:g} is out of range: from {low:g} to {high:g}")


def default_workers() -> int:
    """Return the number of processors this process may use, 8 at most."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, available)


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """How pictures are dealt out."""

    valid: float = 0.15
    """Share of each class for validation (it chooses the best epoch)."""
    test: float = 0.15
    """Share of each class for the test (it is only reported)."""
    seed: int = 0
    """Another seed deals the pictures out differently."""
    group_by: str | None = None
    """Keep together: parent (same folder), prefix:REGEX (of the name), exif-time:SECONDS, csv:COLUMN."""
    min_per_class: int = 1
    """Pictures of each class that validation and test get at least."""
    folds: int = 0
    """Write so many manifests instead, each with another part for validation and the same test pictures."""
    quarantine: Path | None = None
    """List of pictures to leave out, as `depthwise audit --quarantine` writes it."""

    def __post_init__(self) -> None:
        if self.folds and not 2 <= self.folds <= 100:
            raise UserError(f"--folds {self.folds} is out of range: from 2 to 100")
        _check_range("min_per_class", self.min_per_class, 1, 1_000_000)
        if not (0 <= self.valid < 1 and 0 <= self.test < 1 and self.valid + self.test < 1):
            raise UserError(
                f"--valid {self.valid:g} and --test {self.test:g} must be fractions (0.15 is 15 %) with a sum below 1"
            )
        _check_range("seed", self.seed, 0, MAX_SEED)


@dataclass(frozen=True)
class SaveEvery:
    """How often a run is saved between the ends of its epochs: what a kill may cost, not what comes out."""

    steps: int = 0
    """So many steps after the last time; 0: not counted."""
    seconds: float = 0.0
    """So many seconds after the last time; 0: not counted."""

    @classmethod
    def parse(cls, text: str) -> "SaveEvery":
        """Read '200' (steps) or '300s' (seconds). Raises UserError for anything else."""
        number = text.removesuffix("s")
        if not (number.isascii() and number.isdigit() and int(number)):
            raise UserError(f"--save-every {text}: give a number of steps (200) or of seconds (300s)")
        return cls(seconds=float(number)) if text.endswith("s") else cls(steps=int(number))


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that decides what a training run computes."""

    recipe: str = "none"
    """Recipe that these settings are from; none: the defaults below."""
    model: str = "mobilenet_v3_small"
    """Network; all names: depthwise models."""
    set: tuple[str, ...] = ()
    """Option of the network as NAME=VALUE, e.g. width=0.6; may be given several times."""
    epochs: int = 30
    """Passes over the training pictures."""
    batch_size: int = 64
    """Pictures per step."""
    pretrained: str | None = None
    """Start from others' weights: package, torchvision, timm, one of their names as timm:NAME, or a file."""
    freeze: Literal["none", "backbone"] = "none"
    """backbone: train the last layer only, on features that are computed once; quick, for weights trained before."""
    lr: float | None = None
    """Learning rate at its highest, after warm-up; without it 0.1, or 0.01 when starting from other weights."""
    warmup: float = 0.1
    """Share of all steps in which the learning rate rises from 0, linearly."""
    momentum: float = 0.9
    """Nesterov momentum of SGD."""
    weight_decay: float = 5e-4
    """L2 penalty on weights; not on batch norm and biases."""
    label_smoothing: float = 0.1
    """Probability mass that the targets of training spread over all classes."""
    clip_grad: float | None = None
    """Scale gradients down to this norm, all parameters together, where theirs is larger."""
    accumulate: int = 1
    """Compute each step in so many parts, one after the other: less memory; batch norm sees the parts."""
    recalibrate: bool = True
    """Measure batch norm's statistics anew before each validation, instead of keeping averages over training."""
    augment: Literal["standard", "none"] = "standard"
    """standard: shift and mirror training pictures at random; none: show them as they are."""
    crop: float = 0.08
    """Largest shift, as a share of the side."""
    flip: bool = True
    """Mirror left to right; switch it off for letters, digits, signs."""
    image_size: int | None = None
    """Side of the network's input in px; without it, chosen from the network and the pictures' sizes."""
    channels: Literal[1, 3] | None = None
    """1: grey, 3: RGB; without it, grey when all pictures that were looked at are."""
    fit: Literal["squash", "letterbox", "crop"] = "squash"
    """How a picture becomes square: squash it, add grey bars, or cut the longer side."""
    seed: int = 0
    """Decides weights, order and augmentation, and the split where there is none yet."""

    def __post_init__(self) -> None:
        bounds: dict[str, tuple[float, float]] = {
            "epochs": (1, 1_000_000),
            "batch_size": (2, 65_536),
            "lr": (1e-12, 1e3),
            "warmup": (0, 0.9),
            "momentum": (0, 0.9999),
            "weight_decay": (0, 1),
            "label_smoothing": (0, 0.9),
            "clip_grad": (1e-12, 1e12),
            "accumulate": (1, 65_536),
            "crop": (0, 0.5),
            "image_size": (8, 4096),
            "seed": (0, MAX_SEED),
        }
        for name, (low, high) in bounds.items():
            _check_range(name, getattr(self, name), low, high)

    @property
    def peak_lr(self) -> float:
        """The learning rate that is used."""
        return LR_FRESH if self.lr is None else self.lr

    def to_json(self) -> dict[str, Any]:
        """Return plain values without those that are None."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items() if v is not None}
