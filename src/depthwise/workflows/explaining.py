"""`depthwise explain`: the places of one photo that speak for a class."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthwise.artifact import Card
from depthwise.data.audit import Skipped
from depthwise.data.cache import read_picture
from depthwise.data.decode import Pixels
from depthwise.deploy.class_map import Heat, class_map
from depthwise.deploy.engine import SUFFIXES
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
    if path.suffix in SUFFIXES and path.suffix != ".onnx":
        raise UserError(
            f"{path}: where it looks cannot be told of a {path.suffix} file; give the run, its model file or an .onnx "
            "file exported from it"
        )
    engine = load(path, device, factory).engine
    if label is not None and label not in engine.card.classes:
        known = list(engine.card.classes)
        raise UserError(f"--class {label}: {path} does not know this class{suggest(label, known)}")
    if path.suffix == ".onnx":
        return _explain(engine.card, photo, label, partial(class_map, path))
    return explain_with(engine, photo, label)


def explain_with(engine: Engine, photo: Path, label: str | None = None) -> Explanation:
    """Explain an answer of a model in PyTorch that is loaded, as `explain` does. Raises UserError."""
    from depthwise.deploy.eager import EagerEngine
    from depthwise.deploy.explain import grad_cam

    assert isinstance(engine, EagerEngine)
    return _explain(engine.card, photo, label, partial(grad_cam, engine))


def _explain(card: Card, photo: Path, label: str | None, heat_of: Callable[[Pixels, int | None], Heat]) -> Explanation:
    pixels = read_picture(photo, card.geometry)
    if isinstance(pixels, Skipped):
        raise UserError(f"{photo} cannot be used: {pixels.detail}")
    heat = heat_of(pixels, None if label is None else card.classes.index(label))
    probabilities = softmax(heat.logits[None] / np.float32(card.temperature))[0]
    answer = card.classes[int(heat.logits.argmax())]
    probability = float(probabilities[heat.number])
    return Explanation(photo, pixels, card.classes[heat.number], probability, answer, heat.layer, heat.map)
