"""`depthwise explain`: the places of one photo that speak for a class."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthwise.data.audit import Skipped
from depthwise.data.cache import read_picture
from depthwise.data.decode import Pixels
from depthwise.deploy.eager import EagerEngine
from depthwise.deploy.explain import grad_cam
from depthwise.errors import UserError, suggest
from depthwise.metrics import softmax
from depthwise.workflows.loading import load
from depthwise.workflows.run_folder import find_model


@dataclass(frozen=True)
class Explanation:
    """Where a network sees a class in one photo."""

    path: Path
    pixels: Pixels
    """The photo as the network sees it, uint8 (S, S, C)."""
    label: str
    """The class."""
    probability: float
    answer: str
    """The most probable class."""
    layer: str
    """Path of the layer whose map it is."""
    map: NDArray[np.float32]
    """(h, w), at least 0: how much each place speaks for the class; all 0 where nothing does."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values, as the command line prints them."""
        told = {name: getattr(self, name) for name in ("label", "probability", "answer", "layer")}
        return {"path": str(self.path)} | told | {"map": np.round(self.map.astype(float), 6).tolist()}


def explain(
    model: str | Path, photo: str | Path, label: str | None = None, *, factory: str | None = None, device: str = "auto"
) -> Explanation:
    """Explain a model's answer to a photo, or where it sees the class `label`. Raises UserError.

    `model`: a run folder or a model file for PyTorch; an exported file keeps no maps.
    """
    path, photo = find_model(model), Path(photo)
    if path.suffix == ".onnx":
        raise UserError(f"{path}: an exported file keeps no maps; give the run or the model file that it was made from")
    engine = load(path, device, factory).engine
    assert isinstance(engine, EagerEngine)
    if label is not None and label not in engine.card.classes:
        known = list(engine.card.classes)
        raise UserError(f"--class {label}: {path} does not know this class{suggest(label, known)}")
    return explain_with(engine, photo, label)


def explain_with(engine: EagerEngine, photo: Path, label: str | None = None) -> Explanation:
    """Explain an answer of a model that is loaded, as `explain` does. Raises UserError."""
    card = engine.card
    pixels = read_picture(photo, card.geometry)
    if isinstance(pixels, Skipped):
        raise UserError(f"{photo} cannot be used: {pixels.detail}")
    heat = grad_cam(engine, pixels, None if label is None else card.classes.index(label))
    probabilities = softmax(heat.logits[None] / np.float32(card.temperature))[0]
    answer = card.classes[int(heat.logits.argmax())]
    probability = float(probabilities[heat.number])
    return Explanation(photo, pixels, card.classes[heat.number], probability, answer, heat.layer, heat.map)
