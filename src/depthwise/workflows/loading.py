"""`depthwise.load`: from a model file to a classifier."""

from pathlib import Path

from depthwise import artifact
from depthwise.deploy.engine import SUFFIXES, Choice
from depthwise.deploy.predict import Classifier
from depthwise.errors import UserError, require
from depthwise.workflows import finding
from depthwise.workflows.opening import open_engine
from depthwise.workflows.run_folder import find_model


def load(
    path: str | Path,
    device: str = "auto",
    factory: str | None = None,
    choice: Choice | None = None,
    *,
    is_large: bool = False,
) -> Classifier:
    """Return the classifier in a model file or a run folder. Raises UserError when there is none or it is damaged.

    An exported `.onnx` file needs no torch. `choice` says what runs an exported file: by default what `depthwise bench`
    found, where the work is large (`is_large`: some hundred pictures), else ONNX Runtime. `device`: cpu, cuda, or auto
    (cuda where there is one). `factory`: the package.module:function that makes the network of a file that was trained
    with your own; nothing else in a file is ever called.
    """
    path = find_model(path)
    if path.suffix in SUFFIXES:
        choice = choice or Choice()
        found = finding.best(path, choice) if is_large else None
        return Classifier(open_engine(path, found or choice))
    if choice and choice.engine != "auto":
        raise UserError(f"--engine {choice.engine} runs exported files; {path.name} is computed in PyTorch")
    card = artifact.read_card(path)
    if card.kind != "model":
        raise UserError(f"{path}: a checkpoint to go on training from, not a model; take best.safetensors beside it")
    require("torch", "train", f"predicting with {path}")
    from depthwise.deploy.eager import EagerEngine
    from depthwise.workflows.devices import choose_device

    if choice and choice.threads:
        import torch

        torch.set_num_threads(choice.threads)
    card, tensors = artifact.read(path)
    return Classifier(EagerEngine(card, tensors, choose_device(device), factory=factory))
