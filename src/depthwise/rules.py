"""Which settings of a training run make sense, alone and together. `given` is all of a TrainConfig, by name."""

import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from depthwise.errors import UserError

Settings = Mapping[str, Any]
MAX_SEED = 2**32 - 1
PLATEAU_EPOCHS = 5
"""Epochs without improvement after which `plateau` lowers the learning rate, unless told otherwise."""
WARMUP = 0.1
"""Share of the steps in which the learning rate rises unless told otherwise."""
FALLING = ("step", "exponential", "plateau")

CHANGES = (
    *("crop", "scale_min", "short_side", "flip", "vertical_flip", "rotate", "jitter", "hue", "pca_noise", "policy"),
    *("erase", "mixup", "cutmix"),
)
"""Settings that change training pictures."""
Need = tuple[tuple[str, ...], str, Callable[[Settings], bool]]
NEEDS: tuple[Need, ...] = (
    (("nesterov",), "--optimizer sgd", lambda given: given["optimizer"] == "sgd"),
    (("rms_decay",), "--optimizer rmsprop", lambda given: given["optimizer"] == "rmsprop"),
    (("epsilon",), "--optimizer rmsprop or adamw", lambda given: given["optimizer"] != "sgd"),
    (("decay", "decay_every"), "--schedule step, exponential or plateau", lambda given: given["schedule"] in FALLING),
    (("milestones",), "--schedule step", lambda given: given["schedule"] == "step"),
    (("unfreeze_after",), "--freeze stages:N", lambda given: given["freeze"].startswith("stages:")),
    (("frozen_views",), "--freeze backbone", lambda given: given["freeze"] == "backbone"),
    (("distill_weight", "distill_temperature"), "--teacher", lambda given: given["teacher"] is not None),
    (("policy_ops", "policy_magnitude"), "--policy randaugment", lambda given: given["policy"] == "randaugment"),
    (("augment_warmup", *CHANGES), "another --augment than none", lambda given: given["augment"] != "none"),
    (("augment", *CHANGES), "--frozen-views 2, beside --freeze backbone", lambda given: not _looks_once(given)),
    (("progressive",), "layers that learn: --freeze none or stages:N", lambda given: given["freeze"] != "backbone"),
)
"""Settings that do nothing but with others: the flag to add, and the test whether it is there."""

RIVALS = (
    ("warmup_epochs", "warmup_steps", "both say how long warm-up is"),
    ("milestones", "decay_every", "both say when the learning rate decays"),
)


def ranges(epochs: int) -> dict[str, tuple[float, float]]:
    """Return the smallest and the largest value of each setting that is a number, for a run of so many epochs."""
    return {
        "epochs": (1, 1_000_000),
        "batch_size": (2, 65_536),
        "lr": (1e-12, 1e3),
        "warmup": (0, 0.9),
        "momentum": (0, 0.9999),
        "weight_decay": (0, 1),
        "label_smoothing": (0, 0.9),
        "clip_grad": (1e-12, 1e12),
        "accumulate": (1, 65_536),
        "augment_warmup": (0, 1),
        "crop": (0, 0.5),
        "scale_min": (0, 1),
        "rotate": (0, 180),
        "jitter": (0, 1),
        "hue": (0, 0.5),
        "pca_noise": (0, 1),
        "policy_ops": (1, 14),
        "policy_magnitude": (0, 10),
        "erase": (0, 1),
        "mixup": (0, 2),
        "cutmix": (0, 2),
        "progressive": (0, 4096),
        "image_size": (8, 4096),
        "seed": (0, MAX_SEED),
        "rms_decay": (0, 0.9999),
        "epsilon": (1e-16, 10),
        "decay": (1e-6, 0.9999),
        "decay_every": (0.01, 1_000_000),
        "warmup_epochs": (0, epochs),
        "warmup_steps": (0, 1_000_000_000),
        "ema": (0, 0.999999),
        "patience": (1, 1_000_000),
        "unfreeze_after": (1, epochs - 1),
        "frozen_views": (1, 100),
        "layer_decay": (0.01, 1),
        "distill_weight": (0.01, 1),
        "distill_temperature": (0.1, 100),
    }


def flag(name: str) -> str:
    """Return the flag of a setting."""
    return f"--{name.replace('_', '-')}"


def is_cut(value: Any) -> bool:
    """Tell whether a rule for where to cut is on: `short_side` is off as (0, 0)."""
    return bool(value) and value != (0, 0)


def check_range(name: str, value: float | None, low: float, high: float) -> None:
    """Raise UserError for a number that is too small or too large; None is not given."""
    if value is not None and not low <= value <= high:
        raise UserError(f"{flag(name)} {value:g} is out of range: from {low:g} to {high:g}")


def check_kinds(given: Settings, kinds: Mapping[str, Any]) -> None:
    """Raise UserError for a setting that is not of its kind: flags are checked when they are read, recipes here."""
    for name, kind in kinds.items():
        if not _is_of(given[name], kind):
            words = _words(kind)
            allowed = " or ".join(words) if len(words) <= 2 else f"one of {', '.join(words)}"
            raise UserError(f"{flag(name)} {given[name]!r}: expected {allowed}")


KINDS: dict[type, tuple[type, str]] = {
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    bool: (bool, "true or false"),
    str: (str, "text"),
    tuple: (tuple, "a list"),
}


def _is_of(value: Any, kind: Any) -> bool:
    if get_origin(kind) in (Union, UnionType):
        return any(_is_of(value, one) for one in get_args(kind))
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if kind is NoneType:
        return value is None
    plain = get_origin(kind) or kind
    return isinstance(value, KINDS[plain][0]) and isinstance(value, bool) == (plain is bool)


def _words(kind: Any) -> list[str]:
    """Return what a kind allows, for people."""
    if get_origin(kind) in (Union, UnionType):
        return [word for one in get_args(kind) if one is not NoneType for word in _words(one)]
    if get_origin(kind) is Literal:
        return list(map(str, get_args(kind)))
    return [KINDS[get_origin(kind) or kind][1]]


def check_settings(given: Settings, usual: Settings) -> None:
    """Raise UserError for the first setting that is not possible, or makes no sense beside others."""
    for name, (low, high) in ranges(given["epochs"]).items():
        check_range(name, given[name], low, high)
    check_idle(given, usual)
    for check in (check_freeze, check_milestones, check_plateau, check_rivals, check_cuts, check_compile):
        check(given)


def idle(given: Settings, usual: Settings) -> dict[str, str]:
    """Return the settings that differ from `usual` in vain, each with the flag that it needs."""
    unmet = [(name, need) for names, need, is_met in NEEDS if not is_met(given) for name in names]
    return {name: need for name, need in unmet if given[name] != usual[name] and _is_on(name, given[name])}


def _looks_once(given: Settings) -> bool:
    """Tell whether frozen layers see each picture once, as it is."""
    return bool(given["freeze"] == "backbone" and given["frozen_views"] == 1)


def _is_on(name: str, value: Any) -> bool:
    """Tell whether a setting asks for something: 0 and none of what changes pictures do not."""
    return name not in ("augment", "augment_warmup", *CHANGES) or (bool(value) and value not in ("none", (0, 0)))


def check_idle(given: Settings, usual: Settings) -> None:
    """Raise UserError for a setting that does nothing without another one."""
    for name, need in idle(given, usual).items():
        raise UserError(f"{flag(name)} {given[name]} does nothing without {need}: add that, or leave it out")


def check_rivals(given: Settings) -> None:
    """Raise UserError for two settings that say the same, or of which one undoes the other."""
    for one, other, why in RIVALS:
        if given[one] is not None and given[other] is not None:
            raise UserError(f"{flag(one)} and {flag(other)}: {why}; give one of them")
    if given["warmup"] != WARMUP and (given["warmup_epochs"] is not None or given["warmup_steps"] is not None):
        raise UserError("--warmup beside --warmup-epochs or --warmup-steps: both say how long it is; give one of them")
    if given["freeze"] != "backbone":
        return
    if given["layer_decay"] < 1:
        raise UserError("--layer-decay slows stages that --freeze backbone stops altogether; give one of them")
    if given["teacher"] is not None:
        raise UserError("--teacher looks at each picture anew, --freeze backbone looks only once; give one of them")
    if given["frozen_views"] > 1 and (given["mixup"] or given["cutmix"]):
        raise UserError(
            "--mixup and --cutmix blend pictures anew in each epoch, --frozen-views keeps what the network makes of "
            "each alone: leave one of them out"
        )


def check_freeze(given: Settings) -> None:
    """Raise UserError for what `freeze` cannot be."""
    if not re.fullmatch(r"none|backbone|stages:[1-9][0-9]{0,3}", given["freeze"]):
        raise UserError(f"--freeze {given['freeze']}: allowed are none, backbone, and stages:N with N from 1")


def check_milestones(given: Settings) -> None:
    """Raise UserError when the milestones are no rising numbers, or the first lies beyond the run's end."""
    if given["milestones"] is None:
        return
    parts = given["milestones"].split(",")
    are_numbers = all(re.fullmatch(r"[0-9]{1,7}(\.[0-9]{1,3})?", part) and float(part) > 0 for part in parts)
    if not are_numbers or any(float(one) >= float(other) for one, other in pairwise(parts)):
        raise UserError(f"--milestones {given['milestones']}: expected rising numbers of epochs, e.g. 30,60,90")
    if float(parts[0]) >= given["epochs"]:
        raise UserError(f"--milestones {given['milestones']}: the first is not before --epochs {given['epochs']}")


def check_plateau(given: Settings) -> None:
    """Raise UserError when `plateau` would wait for a part of an epoch, or longer than the run."""
    if given["schedule"] != "plateau":
        return
    wait = given["decay_every"] or PLATEAU_EPOCHS
    if wait % 1:
        raise UserError(f"--decay-every {wait:g}: with --schedule plateau a whole number of epochs")
    if given["decay_every"] is not None and wait > given["epochs"]:
        raise UserError(
            f"--decay-every {wait:g}: --schedule plateau would wait longer than the run, --epochs {given['epochs']}"
        )
    if given["patience"] is not None and given["patience"] <= wait:
        raise UserError(
            f"--patience {given['patience']} stops before --schedule plateau has lowered the rate, which it does after "
            f"{wait:g} epochs without a better one: give more patience, or a smaller --decay-every"
        )


def check_cuts(given: Settings) -> None:
    """Raise UserError for a short side that is none, and for two rules for where to cut."""
    if given["short_side"]:
        low, high = given["short_side"]
        if not ((low, high) == (0, 0) or 8 <= low <= high <= 4096):
            raise UserError(f"--short-side {low} {high}: give the smallest and the largest length, from 8 to 4096 px")
    wanted = [flag(name) for name in ("crop", "scale_min", "short_side") if is_cut(given[name])]
    if len(wanted) > 1:
        raise UserError(f"{' and '.join(wanted)} are rules for where to cut: give one of them")


def check_compile(given: Settings) -> None:
    """Raise UserError for fused kernels in a network that torch.compile translates."""
    if given["compile"] and given["kernels"] == "fused":
        raise UserError("--compile translates PyTorch's kernels: --kernels fused does not go with it")
