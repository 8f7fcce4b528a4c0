"""`depthwise.load`: from a model file to a classifier."""

from pathlib import Path

from depthwise import artifact
from depthwise.deploy.engine import OnnxEngine
from depthwise.deploy.predict import Classifier
from depthwise.errors import UserError, require
from depthwise.workflows.run_folder import find_model


def load(
    path: str | Path, device: str = "auto", factory: str | None = None, *, threads: int | None = None
) -> Classifier:
    """Return the classifier in a model file or a run folder. Raises UserError when there is none or it is damaged.

    An exported `.onnx` file needs no torch. `device`: cpu, cuda, or auto (cuda where there is one). `factory`: the
    package.module:function that makes the network of a file that was trained with your own; nothing else in a file is
    ever called. `threads`: processors that one call of an `.onnx` file's engine computes with, all by default.
    """
    path = find_model(path)
    if path.suffix == ".onnx":
        return Classifier(OnnxEngine(path, threads=threads), is_concurrent=True)
    card = artifact.read_card(path)
    if card.kind != "model":
        raise UserError(f"{path}: a checkpoint to go on training from, not a model; take best.safetensors beside it")
    require("torch", "train", f"predicting with {path}")
    from depthwise.deploy.eager import EagerEngine
    from depthwise.workflows.devices import choose_device

    card, tensors = artifact.read(path)
    return Classifier(EagerEngine(card, tensors, choose_device(device), factory=factory))
