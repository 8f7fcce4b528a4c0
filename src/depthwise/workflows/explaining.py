"""`depthwise explain`: the places of one photo that speak for a class."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthwise.data.audit import Skipped
from depthwise.data.cache import read_picture
from depthwise.data.decode import Pixels
from depthwise.deploy.class_map import Heat, class_map
from depthwise.deploy.predict import Engine
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
    """Path of the layer whose map it is; of an exported file, the value's name in its graph."""
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

    `model`: a run folder or a model file; an exported `.onnx` file, without torch, where pooling and a linear layer end
    its network.
    """
    path, photo = find_model(model), Path(photo)
    engine = load(path, device, factory).engine
    card = engine.card
    if label is not None and label not in card.classes:
        raise UserError(f"--class {label}: {path} does not know this class{suggest(label, list(card.classes))}")
    pixels = read_picture(photo, card.geometry)
    if isinstance(pixels, Skipped):
        raise UserError(f"{photo} cannot be used: {pixels.detail}")
    heat = _heat(engine, path, pixels, None if label is None else card.classes.index(label))
    probabilities = softmax(heat.logits[None] / np.float32(card.temperature))[0]
    answer = card.classes[int(heat.logits.argmax())]
    probability = float(probabilities[heat.number])
    return Explanation(photo, pixels, card.classes[heat.number], probability, answer, heat.layer, heat.map)


def _heat(engine: Engine, path: Path, pixels: Pixels, number: int | None) -> Heat:
    """Return the map: by gradients from a model in PyTorch, from an exported file by its last layer's weights."""
    if path.suffix == ".onnx":
        return class_map(path, pixels, number)
    from depthwise.deploy.eager import EagerEngine
    from depthwise.deploy.explain import grad_cam

    assert isinstance(engine, EagerEngine)
    return grad_cam(engine, pixels, number)
