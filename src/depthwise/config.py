"""What a run is asked to do: frozen, checked when made, saved with the model. Fields are the command line's flags."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_type_hints

from depthwise.errors import UserError
from depthwise.rules import MAX_SEED, WARMUP, check_kinds, check_range, check_settings


class Habit(NamedTuple):
    """What an optimiser uses where nothing else is asked for."""

    fresh: float  # highest learning rate, for fresh weights
    tuned: float  # the same, for weights that were trained before
    weight_decay: float
    epsilon: float | None


HABITS = {
    "sgd": Habit(0.1, 0.01, 5e-4, None),
    "rmsprop": Habit(0.004, 0.0004, 1e-5, 1e-3),
    "adamw": Habit(0.002, 0.0002, 0.05, 1e-8),
}


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
        check_range("folds", self.folds or None, 2, 100)
        check_range("min_per_class", self.min_per_class, 1, 1_000_000)
        if not (0 <= self.valid < 1 and 0 <= self.test < 1 and self.valid + self.test < 1):
            raise UserError(
                f"--valid {self.valid:g} and --test {self.test:g} must be fractions (0.15 is 15 %) with a sum below 1"
            )
        check_range("seed", self.seed, 0, MAX_SEED)

    @classmethod
    def of(cls, split: "SplitConfig | Mapping[str, Any] | None", seed: int) -> "SplitConfig":
        """Return `split`; of its fields by name, or none, with a run's `seed` unless they have their own."""
        return split if isinstance(split, SplitConfig) else cls(**{"seed": seed, **(split or {})})


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


@cache
def _kinds() -> dict[str, Any]:
    """Return what each of TrainConfig's fields may hold."""
    return get_type_hints(TrainConfig)


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
    lr: float | None = None
    """Learning rate at its highest, after warm-up; without it 0.1 for sgd, 0.004 for rmsprop, 0.002 for adamw, and a
    tenth of that when starting from other weights."""
    warmup: float = WARMUP
    """Share of all steps in which the learning rate rises from 0, linearly."""
    momentum: float = 0.9
    """Share of the last step that is kept; of adamw: of the mean gradient (its beta 1)."""
    weight_decay: float | None = None
    """Pull of weights towards 0, not on batch norm and biases; without it 5e-4 for sgd, 1e-5 for rmsprop, 0.05 for
    adamw, whose decay is no part of the gradient."""
    label_smoothing: float = 0.1
    """Probability mass that the targets of training spread over all classes."""
    clip_grad: float | None = None
    """Scale gradients down to this norm, all parameters together, where theirs is larger."""
    accumulate: int = 1
    """Compute each step in so many parts, one after the other: less memory; batch norm sees the parts."""
    recalibrate: bool = True
    """Measure batch norm's statistics anew before each validation, instead of keeping averages over training."""
    keep_statistics: bool = False
    """Let batch norm use the statistics that the weights came with, in training, too: for weights trained before."""
    augment: Literal["none", "standard", "light", "strong"] = "standard"
    """Random changes of training pictures. none: no change, whatever the flags below say; standard: shift and mirror;
    light, strong: for photos (docs/input.md). Each flag below replaces the preset's value; 0 is off."""
    augment_warmup: float | None = None
    """Share of the epochs in which more and more pictures are changed, from none in the first; standard: 1, all."""
    crop: float | None = None
    """Largest shift, as a share of the side; standard: 0.08."""
    scale_min: float | None = None
    """Cut out a random part, of so much of the area at least; for photos of things, 0.25 to 0.5."""
    short_side: tuple[int, int] | None = None
    """Cut out what the network's input shows of a short side of random length, px: VGG 256 512, AlexNet 256 256."""
    flip: bool | None = None
    """Mirror left to right; without it, as the preset has it unless mirror images look like other classes."""
    vertical_flip: bool | None = None
    """Mirror top to bottom; for pictures without an up, as of microscopes and from above."""
    rotate: float | None = None
    """Turn by up to so many degrees either way."""
    jitter: float | None = None
    """Change brightness, contrast and saturation by up to this share."""
    hue: float | None = None
    """Turn colours by up to this share of the colour circle."""
    pca_noise: float | None = None
    """Standard deviation of AlexNet's colour noise; 0.1 in the paper."""
    policy: Literal["none", "randaugment", "trivial"] | None = None
    """Draw from a table of changes: RandAugment, or TrivialAugment (wide)."""
    policy_ops: int = 2
    """RandAugment's N: changes per picture."""
    policy_magnitude: float = 9.0
    """RandAugment's M: their strength, 0 to 10."""
    erase: float | None = None
    """Probability of a rectangle of noise over the picture."""
    mixup: float | None = None
    """Blend pictures and labels in pairs; Beta's alpha, 0.2 to 1."""
    cutmix: float | None = None
    """Put a part of another picture in, and of its label; Beta's alpha, 1 in the paper."""
    progressive: int = 0
    """Side in px that training starts with, growing to the input's in four stages."""
    image_size: int | None = None
    """Side of the network's input in px; without it, chosen from the network and the pictures' sizes."""
    channels: Literal[1, 3] | None = None
    """1: grey, 3: RGB; without it, grey when all pictures that were looked at are."""
    fit: Literal["squash", "letterbox", "crop"] = "squash"
    """How a picture becomes square: squash it, add grey bars, or cut the longer side."""
    centre_only: bool = False
    """Subtract the training pictures' mean and leave values as large as bytes, as AlexNet and VGG had them, in place of
    dividing by their deviation too."""
    seed: int = 0
    """Decides weights, order and augmentation, and the split where there is none yet."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Training in float32 or bfloat16; auto: bfloat16 where the processor has it and it measures faster."""
    kernels: Literal["auto", "torch", "fused"] = "auto"
    """Training by PyTorch's kernels or the fused ones for CPUs; auto: for each layer what measures faster."""
    compile: bool = False
    """Translate the network by torch.compile: takes minutes at the start, may pay on a GPU."""

    # How weights are learnt.
    optimizer: Literal["sgd", "rmsprop", "adamw"] = "sgd"
    """sgd: with momentum; rmsprop: TensorFlow's, of the MobileNets and EfficientNet; adamw: steps of a like size."""
    nesterov: bool = True
    """sgd: look ahead along the momentum."""
    rms_decay: float = 0.9
    """rmsprop: share of the old mean square that is kept in each step."""
    epsilon: float | None = None
    """Added to the mean square: inside the root for rmsprop (1e-3), outside for adamw (1e-8)."""
    schedule: Literal["cosine", "step", "exponential", "linear", "constant", "plateau"] = "cosine"
    """How the learning rate falls after warm-up; plateau: whenever validation stops improving."""
    decay: float | None = None
    """Factor of the learning rate for step and plateau (0.1) and exponential (what leaves a hundredth at the end)."""
    decay_every: float | None = None
    """Epochs per decay for step (a third of all) and exponential (1); for plateau epochs without improvement (5)."""
    milestones: str | None = None
    """step: epochs after which the rate decays, e.g. 30,60,90; instead of --decay-every."""
    warmup_epochs: float | None = None
    """Warm-up in epochs, instead of --warmup."""
    warmup_steps: int | None = None
    """Warm-up in steps, instead of --warmup."""
    ema: float = 0.0
    """Validate and keep an average of the weights over the steps, that gives the old average this share (0.999)."""
    patience: int | None = None
    """Stop after so many epochs without a better one in validation."""
    freeze: str = "none"
    """Weights trained before that stay. backbone: all but the last layer, on features computed once, which is quick;
    stages:N: those of the first N stages."""
    unfreeze_after: int | None = None
    """Epochs after which the stages that --freeze keeps learn too."""
    frozen_views: int = 1
    """--freeze backbone: features of each training picture as it is and of so many in all, the others changed as
    --augment says; epochs show them in turn."""
    layer_decay: float = 1.0
    """Factor of the learning rate from each stage to the one before it, for weights trained before (0.75)."""
    class_balance: Literal["none", "weights", "sampler", "logit-adjust"] = "none"
    """For classes of unequal size. weights: rare pictures count more; sampler: they are shown more often;
    logit-adjust: rare classes must win by more."""
    teacher: str | None = None
    """Learn from the answers of this model file or run too; it needs the same classes."""
    distill_weight: float = 0.9
    """Share of the teacher in the loss; the labels have the rest."""
    distill_temperature: float = 4.0
    """What logits are divided by where the teacher's and ours are compared."""

    def __post_init__(self) -> None:
        check_kinds(vars(self), _kinds())
        check_settings(vars(self), {field.name: field.default for field in fields(self)})

    @property
    def peak_lr(self) -> float:
        """The learning rate that is used."""
        return HABITS[self.optimizer].fresh if self.lr is None else self.lr

    @property
    def milestone_epochs(self) -> tuple[float, ...]:
        """The numbers in `milestones`."""
        return tuple(float(part) for part in (self.milestones or "").split(",") if part)

    @property
    def num_frozen_stages(self) -> int:
        """The number in `freeze`, 0 without one."""
        return int(self.freeze.removeprefix("stages:")) if self.freeze.startswith("stages:") else 0

    def settled(self, *, is_warm: bool = False) -> "TrainConfig":
        """Return it with the optimiser's own numbers where none are given; `is_warm`: weights were trained before."""
        habit = HABITS[self.optimizer]
        own: dict[str, Any] = {"lr": habit.tuned if is_warm else habit.fresh, "weight_decay": habit.weight_decay}
        own["epsilon"] = habit.epsilon
        return replace(self, **{name: value for name, value in own.items() if getattr(self, name) is None})

    def to_json(self) -> dict[str, Any]:
        """Return plain values without those that are None."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items() if v is not None}
