"""`depthwise export --int8`: whole numbers, unless validation photos say that they cost too much."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthwise.console import Quiet
from depthwise.data.index import Record
from depthwise.deploy.quantize import CHUNK, Quantizer, sensitivity
from depthwise.errors import UserError
from depthwise.metrics import Logits

NUM_CALIBRATION = 256
"""Training photos that the ranges are learnt from."""
NUM_SENSITIVITY = 32
MOST_IN_FLOAT = 0.5
"""Share of the layers that may go back to float; beyond it the file would not be worth its name."""
TOLERANCE = 0.05
"""Largest difference of a probability that another processor may make in INT8: a value that lies between two whole
numbers may fall to either."""

REMEDY = "Allow more with --max-loss, export without --int8, or check that the training photos are like the others"


@dataclass(frozen=True)
class Gate:
    """What an INT8 form costs on validation photos."""

    accuracy_float: float
    accuracy_int8: float
    max_loss: float
    """Share of the photos that may be lost."""
    per_class: dict[str, float]
    """Recall lost, by class; below 0 where INT8 does better."""

    @property
    def loss(self) -> float:
        """Top-1 lost, as a share."""
        return self.accuracy_float - self.accuracy_int8

    @property
    def is_passed(self) -> bool:
        """Whether no more is lost than may be."""
        return self.loss <= self.max_loss + 1e-9


@dataclass(frozen=True)
class Int8:
    """A network in INT8 that passed its gate."""

    network: Any
    gate: Gate
    num_calibration: int
    num_layers: int
    float_layers: tuple[str, ...]
    """Those that went back to float, the worst first."""

    def judged(self, gate: Gate, engine: str) -> "Int8":
        """Return it with the gate of the very file, run by `engine`. Raises UserError where too much is lost there."""
        if not gate.is_passed:
            raise UserError(
                f"INT8 loses {gate.loss:.1%} of the validation photos in the whole file, run by {engine} (the network "
                f"alone, in ONNX Runtime, {self.gate.loss:.1%}; allowed: {gate.max_loss:.1%}), so nothing was written."
                f"\n{REMEDY}"
            )
        return replace(self, gate=gate)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, without the network."""
        told = {name: getattr(self, name) for name in ("num_calibration", "num_layers")}
        return {**asdict(self.gate), "loss": self.gate.loss, **told, "float_layers": list(self.float_layers)}


def shrink(
    network: Any,
    calibration: NDArray[np.uint8],
    answers: Callable[[Any], Logits],
    judge: Callable[[Logits], Gate],
    console: Quiet,
) -> Int8:
    """Return `network` in INT8, with as few layers in float as its gate asks for.

    `answers` computes the validation photos' logits by an ONNX network, `judge` says what they are worth. Without
    layers in float first; then with the worst 1, 2, 4, ... of them, up to half. Raises UserError with the loss of each
    class.
    """
    if len(calibration) < CHUNK:
        raise UserError(f"--int8 is calibrated on at least {CHUNK} training photos; there are {len(calibration)}")
    console.say(f"Calibrating on {len(calibration)} training photos")
    with Quantizer(network, calibration) as quantizer:
        found, first, gate, floats = _descend(quantizer, calibration[:NUM_SENSITIVITY], answers, judge, console)
        num_layers = len(quantizer.layers)
    if not gate.is_passed:
        raise UserError(_refusal(first, gate, len(floats), num_layers))
    return Int8(found, gate, len(calibration) // CHUNK * CHUNK, num_layers, floats)


def _descend(
    quantizer: Quantizer,
    pictures: NDArray[np.uint8],
    answers: Callable[[Any], Logits],
    judge: Callable[[Logits], Gate],
    console: Quiet,
) -> tuple[Any, Gate, Gate, tuple[str, ...]]:
    """Return the network that passed, or the last tried; the gate without layers in float; its own; those layers."""
    found = quantizer.without(())
    gate = first = judge(answers(found))
    floats: tuple[str, ...] = ()
    if gate.is_passed:
        return found, first, gate, floats
    worst = _worst(quantizer, pictures, console)
    for count in _doublings(len(worst)):
        floats = tuple(worst[:count])
        console.say(f"INT8 loses {gate.loss:.1%}; trying with {count} of {len(worst)} layers in float")
        found = quantizer.without(floats)
        gate = judge(answers(found))
        if gate.is_passed:
            break
    return found, first, gate, floats


def _doublings(num_layers: int) -> list[int]:
    """Return 1, 2, 4, ... up to MOST_IN_FLOAT of the layers."""
    return [2**power for power in range(num_layers.bit_length()) if 2**power <= MOST_IN_FLOAT * num_layers]


def _worst(quantizer: Quantizer, pictures: NDArray[np.uint8], console: Quiet) -> list[str]:
    """Return the layers, the one that changes the logits most first."""
    found = list(console.track(sensitivity(quantizer, pictures), len(quantizer.layers), "Finding the worst layers"))
    return [layer for layer, _ in sorted(found, key=lambda pair: (-pair[1], pair[0]))]


def _refusal(first: Gate, last: Gate, count: int, num_layers: int) -> str:
    lost = sorted(((share, name) for name, share in last.per_class.items() if share > 0), reverse=True)
    listing = "".join(f"\n  {name}: {share:.1%} of its photos" for share, name in lost)
    return (
        f"INT8 loses {first.loss:.1%} of the validation photos, and still {last.loss:.1%} with the worst {count} of "
        f"{num_layers} layers in float (allowed: {last.max_loss:.1%}), so nothing was written. Lost most:{listing}\n"
        f"{REMEDY}"
    )


def gate_of(before: Logits, labels: NDArray[np.int64], classes: Sequence[str], max_loss: float) -> Callable[..., Gate]:
    """Return the judge: what logits are worth against those of the model, `before`."""
    right = before.argmax(axis=1) == labels

    def judge(after: Logits) -> Gate:
        lost = right.astype(float) - (after.argmax(axis=1) == labels)
        per_class = {name: float(lost[labels == k].mean()) for k, name in enumerate(classes) if (labels == k).any()}
        return Gate(float(right.mean()), float(right.mean() - lost.mean()), max_loss, per_class)

    return judge


def stratified(records: Sequence[Record], count: int) -> list[Record]:
    """Return `count` records (all, if there are fewer), classes in turn, within a class by content: always the same."""
    by_class: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda r: (r.hash, str(r.path))):
        by_class.setdefault(record.label, []).append(record)
    turns = [(place, label, record) for label, part in by_class.items() for place, record in enumerate(part)]
    return [record for _, _, record in sorted(turns, key=lambda turn: turn[:2])[:count]]
