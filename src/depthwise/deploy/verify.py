"""Does an exported file compute what the model does? Compared on photos, and on a few that travel along. No torch."""

import base64
import hashlib
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from depthwise.artifact import Card
from depthwise.data.decode import Pixels
from depthwise.deploy.engine import Exported
from depthwise.errors import UserError
from depthwise.metrics import Logits, softmax

TOLERANCE = 1e-3
"""Largest difference of a probability that rounding may make in float32."""
GOLDEN = 4
"""How many pictures travel along."""


@dataclass(frozen=True)
class Comparison:
    """Two engines' answers to the same pictures."""

    num_images: int
    top1_agreement: float
    """Share of pictures with the same answer; answers that tie within the tolerance count as the same."""
    max_probability_difference: float
    accuracy_before: float | None
    """Top-1 of the model in PyTorch, where classes are known."""
    accuracy_after: float | None
    """Top-1 of the exported file."""
    tolerance: float
    differing: tuple[int, ...]
    """Places of the pictures whose answers or probabilities differ by more."""

    @property
    def is_passed(self) -> bool:
        """Whether no picture differs."""
        return not self.differing

    def to_json(self) -> dict[str, Any]:
        """Return plain values, without the list of pictures."""
        values = asdict(self)
        del values["differing"]
        return values


def compare(
    before: Logits,
    after: Logits,
    temperature: float,
    labels: NDArray[np.int64] | None,
    tolerance: float = TOLERANCE,
) -> Comparison:
    """Compare logits (N, K) of the model and of the exported file; N must be above 0."""
    first, second = (softmax(logits / np.float32(temperature)) for logits in (before, after))
    differences = difference(before, after, temperature)
    chosen = second.argmax(axis=1)
    behind = first.max(axis=1) - np.take_along_axis(first, chosen[:, None], axis=1)[:, 0]
    is_same = behind <= TOLERANCE
    differing = np.flatnonzero(~is_same | ~(differences <= tolerance))  # nan differs
    accuracies = [None if labels is None else float((x.argmax(axis=1) == labels).mean()) for x in (first, second)]
    return Comparison(
        num_images=len(before),
        top1_agreement=float(is_same.mean()),
        max_probability_difference=float(differences.max()),
        accuracy_before=accuracies[0],
        accuracy_after=accuracies[1],
        tolerance=tolerance,
        differing=tuple(int(place) for place in differing),
    )


def difference(before: Logits, after: Logits, temperature: float) -> NDArray[np.float64]:
    """Return the largest difference of a probability for each picture, (N,); also of those without the temperature.

    Near 0 and 1 probabilities hide what logits do, and a low temperature brings them there.
    """
    found = [
        np.abs(softmax(before / np.float32(t)) - softmax(after / np.float32(t))).max(axis=1) for t in (temperature, 1.0)
    ]
    worst: NDArray[np.float64] = np.maximum(*found)  # nan stays nan
    return worst


def noise(num_images: int, image_size: int, channels: int) -> NDArray[np.uint8]:
    """Return pictures (N, S, S, C) of coarse noise, for want of photos: always the same."""
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 256, (num_images, 8, 8, channels), np.uint8)
    times = -(-image_size // 8)
    return coarse.repeat(times, 1).repeat(times, 2)[:, :image_size, :image_size]


def pack_golden(pictures: Sequence[Pixels], logits: Logits) -> list[dict[str, Any]]:
    """Return pictures as PNG in base64 with the model's logits, to travel in a file's metadata."""
    packed = []
    for pixels, row in zip(pictures, logits, strict=True):
        stream = io.BytesIO()
        Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(stream, "PNG", optimize=True)
        image = base64.b64encode(stream.getvalue()).decode("ascii")
        packed.append({"png": image, "logits": [round(float(logit), 6) for logit in row]})
    return packed


def odd_sized(image_size: int, channels: int) -> NDArray[np.uint8]:
    """Return a picture (1, H, W, C) of noise that is not of the network's size, to ask a file's own resizing."""
    height, width = round(1.5 * image_size), round(1.25 * image_size)
    return np.ascontiguousarray(noise(1, height, channels)[:, :, :width])


def check_golden(engine: Exported) -> float | None:
    """Return the largest difference of a probability on the pictures that travelled along; infinity for nan.

    Where the file resizes photos, one of another size is among them. None where no picture travelled along. Raises
    UserError when they cannot be read.
    """
    card = engine.card
    side = (card.geometry.image_size, card.geometry.image_size)
    asked = _read_golden(engine.metadata.get("golden", ()), card, side)
    if engine.takes_any_size:
        asked += _read_golden(engine.metadata.get("golden_resized", ()), card)
    apart = [float(difference(wanted, engine.logits(images), card.temperature)[0]) for images, wanted in asked]
    return max((a if np.isfinite(a) else float("inf") for a in apart), default=None)


def _read_golden(
    packed: Any, card: Card, size: tuple[int, int] | None = None
) -> list[tuple[NDArray[np.uint8], Logits]]:
    """Return pictures (1, H, W, C) with their logits (1, K). Raises UserError for what does not fit the card."""
    try:
        found = []
        for entry in packed:
            pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(entry["png"]))))
            wanted = np.array(entry["logits"], np.float32).reshape(1, len(card.classes))
            if pixels.dtype != np.uint8 or (size and pixels.shape[:2] != size):
                raise ValueError(f"a picture of {pixels.shape[:2]} px")
            found.append((pixels.reshape(1, *pixels.shape[:2], card.geometry.channels), wanted))
    except Exception as error:  # of a hostile file nearly anything comes
        raise UserError(f"the model file is damaged: its pictures to ask again cannot be read: {error}") from error
    return found


def tolerance_of(metadata: dict[str, Any]) -> float:
    """Return the largest difference of a probability that an exported file allows another machine to make."""
    try:
        return float(metadata.get("verification", {}).get("tolerance", TOLERANCE))
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(f"the model file is damaged: its verification does not fit: {error}") from error


def fingerprint(data: bytes) -> str:
    """Return the SHA-256 of a file's bytes."""
    return hashlib.sha256(data).hexdigest()
