"""`depthwise recommend`: the networks that answer in time on this machine, ranked by their published accuracy."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Any, NamedTuple

import torch

from depthwise.console import Quiet
from depthwise.errors import UserError, require
from depthwise.files import cache_folder
from depthwise.machine import num_processors, processor
from depthwise.models.create import create_model
from depthwise.models.registry import ModelSpec, list_models, model_info
from depthwise.models.weights.origins import public_weights
from depthwise.workflows.benching import TITLES
from depthwise.workflows.measured import Ask, Kept, Measured, Runner

ANCHOR = "resnet18"
"""Plain 3x3 convolutions: few networks compute more multiply-adds in a second."""
FASTER = 2.0
"""How many times the anchor's multiply-adds per second a network is believed capable of, before it is measured."""
SMALLER = 0.9
"""Batch norm is folded away, so a file may be this much smaller than its parameters in float32."""


@dataclass(frozen=True)
class Budget:
    """What an answer may cost."""

    max_ms: float
    """Median milliseconds for one picture."""
    max_mb: float | None = None
    """Megabytes (10^6 bytes) of the exported file; None: any."""

    def __post_init__(self) -> None:
        for flag, value in (("--max-ms", self.max_ms), ("--max-mb", self.max_mb)):
            if value is not None and not value > 0:
                raise UserError(f"{flag} {value:g}: need more than 0")

    def has_room_for(self, measured: Measured) -> bool:
        """Return whether a network keeps within it."""
        return measured.p50_ms <= self.max_ms and (self.max_mb is None or measured.num_bytes <= 1e6 * self.max_mb)


class Published(NamedTuple):
    """ImageNet top-1 in percent, for pictures of the paper's size, and who says so."""

    top1: float
    whose: str


@dataclass(frozen=True)
class Choice:
    """A network that was measured."""

    name: str
    image_size: int
    published: Published
    measured: Measured
    is_in_budget: bool
    is_unbeaten: bool = False
    """Within the budget, and no other within it is at least as fast and as accurate, and better in one of them."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        told = {"name": self.name, "image_size": self.image_size, **self.published._asdict(), **asdict(self.measured)}
        return told | {"is_in_budget": self.is_in_budget, "is_unbeaten": self.is_unbeaten}


@dataclass(frozen=True)
class Recommendation:
    """What was found, the most accurate first, and what was left out, by reason."""

    budget: Budget
    threads: int
    num_classes: int
    engine: str
    """Who computed, with version."""
    processor: str
    choices: tuple[Choice, ...]
    left_out: dict[str, list[str]]

    def to_json(self) -> dict[str, Any]:
        """Return plain values, as the command line prints them."""
        told = {name: getattr(self, name) for name in ("threads", "num_classes", "engine", "processor", "left_out")}
        return {**asdict(self.budget), **told, "networks": [choice.to_json() for choice in self.choices]}


def recommend(
    budget: Budget,
    *,
    pattern: str = "*",
    image_size: int | None = None,
    num_classes: int = 1000,
    threads: int | None = None,
    engine: Runner = "onnxruntime",
    refresh: bool = False,
    kept: Kept | None = None,
    console: Quiet | None = None,
) -> Recommendation:
    """Measure the networks that match `pattern` with random weights, on which time does not depend, as exported files.

    In `engine` and not in PyTorch, because that is what answers in the end, and they rank networks differently.
    `image_size`: the paper's unless given. `threads`: by default one per processor. Networks that by their
    multiply-adds or parameters are far above the budget are left out unmeasured. What was measured before is taken from
    `kept` unless `refresh`. Raises UserError.
    """
    require("onnxscript", "train", "exporting to ONNX")
    if engine == "openvino":
        require("openvino", "openvino", "--engine openvino")
    threads = num_processors() if threads is None else threads
    anchor, *asks = _asks(pattern, image_size, num_classes, threads, engine)
    kept = kept or Kept(cache_folder() / "measured.json")
    macs_per_ms = FASTER * macs(anchor) / kept.get(anchor, refresh=refresh).fastest_ms
    worth: list[Ask] = []
    left_out: defaultdict[str, list[str]] = defaultdict(list)
    for ask in sorted(asks, key=macs):
        if reason := _reason_against(ask, budget, macs_per_ms):
            left_out[reason].append(ask.spec.name)
        else:
            worth.append(ask)
    console = console or Quiet()
    measured = _measure(worth, kept, left_out, refresh, console)
    if kept.failure:
        console.warn(f"{kept.failure}; what was measured now is measured again the next time")
    choices = [
        Choice(ask.spec.name, ask.image_size, known, found, budget.has_room_for(found))
        for ask, found in measured
        if (known := published(ask.spec))
    ]
    title = f"{TITLES[engine]} {version(engine)}"
    return Recommendation(budget, threads, num_classes, title, processor(), tuple(rank(choices)), dict(left_out))


def _asks(pattern: str, image_size: int | None, num_classes: int, threads: int, engine: Runner) -> list[Ask]:
    """Return the anchor and the networks that match. Raises UserError."""
    for flag, count in (("--threads", threads), ("--num-classes", num_classes), ("--image-size", image_size)):
        if count is not None and count < 1:
            raise UserError(f"{flag} {count}: at least 1")
    names = list_models(pattern)
    if not names:
        raise UserError(f"no network's name matches {pattern!r}; all names: depthwise models")
    specs = [model_info(name) for name in (ANCHOR, *names)]
    return [Ask(spec, image_size or spec.image_size, num_classes, threads, engine) for spec in specs]


def published(spec: ModelSpec) -> Published | None:
    """Return the best public weights' accuracy, else the paper's; at the paper's size of pictures only.

    Weights that were measured on larger pictures are not counted: their accuracy would not go with the time.
    """
    rows = [row for row in public_weights() if row.network == spec.name]
    known = [(row.top1, row.origin) for row in rows if row.top1 and row.preprocessing.image_size == spec.image_size]
    if known:
        return Published(*max(known))
    return None if spec.top1 is None else Published(spec.top1, "the paper")


def _reason_against(ask: Ask, budget: Budget, macs_per_ms: float) -> str:
    """Return why a network need not be measured, or ''."""
    if published(ask.spec) is None:
        return "no ImageNet accuracy is published for the paper's size of pictures"
    if budget.max_mb is not None and 4 * SMALLER * _num_params(ask) > 1e6 * budget.max_mb:
        return f"their parameters alone take more than {budget.max_mb:g} MB"
    if macs(ask) > macs_per_ms * budget.max_ms:
        return f"at twice the multiply-adds per second of {ANCHOR} they would still take over {budget.max_ms:g} ms"
    return ""


def _num_params(ask: Ask) -> int:
    """Return the parameters with the classes asked for."""
    if ask.num_classes == ask.spec.num_classes:
        return ask.spec.params
    with torch.device("meta"):
        return sum(weights.numel() for weights in create_model(ask.spec.name, ask.num_classes).parameters())


def _measure(
    asks: Sequence[Ask], kept: Kept, left_out: defaultdict[str, list[str]], refresh: bool, console: Quiet
) -> list[tuple[Ask, Measured]]:
    """Return what each network takes; those that the pictures do not suit are left out."""
    if num_new := sum(refresh or not kept.has(ask) for ask in asks):
        console.say(f"Measuring {num_new} networks, some seconds each; kept in {kept.path}")
    found = []
    for ask in console.track(asks, len(asks), "Measuring networks"):
        try:
            found.append((ask, kept.get(ask, refresh=refresh and ask.spec.name != ANCHOR)))  # the anchor just was
        except UserError as error:
            left_out[str(error)].append(ask.spec.name)
    return found


def macs(ask: Ask) -> float:
    """Return about how many multiply-adds one picture takes: they grow with its area."""
    return ask.spec.macs * (ask.image_size / ask.spec.image_size) ** 2


def rank(choices: Sequence[Choice]) -> list[Choice]:
    """Return the choices, the most accurate first, with `is_unbeaten` filled in."""
    ranked, fastest = [], float("inf")
    for choice in sorted(choices, key=lambda c: (-c.published.top1, c.measured.p50_ms)):
        is_unbeaten = choice.is_in_budget and choice.measured.p50_ms < fastest
        if is_unbeaten:
            fastest = choice.measured.p50_ms
        ranked.append(replace(choice, is_unbeaten=is_unbeaten))
    return ranked
