"""`train --teacher FILE`: a model whose answers a network learns from."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from depthwise.artifact import read_card
from depthwise.config import TrainConfig
from depthwise.data.audit import content_hash
from depthwise.data.geometry import Geometry, apply
from depthwise.deploy.engine import Choice
from depthwise.deploy.predict import Engine
from depthwise.errors import UserError
from depthwise.metrics import Logits
from depthwise.models.foreign import is_code
from depthwise.workflows.loading import load
from depthwise.workflows.run_folder import find_model


@dataclass(frozen=True)
class Teacher:
    """Answers for a batch as the student sees it: uint8 (B, S, S, C) -> logits (B, K), the student's classes."""

    engine: Engine
    columns: NDArray[np.intp]
    """Where each of the student's classes stands among the teacher's (K,)."""

    def __call__(self, images: NDArray[np.uint8]) -> Logits:
        """Return float32 logits of the teacher."""
        fitted = fit(images, self.engine.card.geometry)
        return np.ascontiguousarray(self.engine.logits(fitted)[:, self.columns])


def fit(images: NDArray[np.uint8], geometry: Geometry) -> NDArray[np.uint8]:
    """Return square pictures (B, S, S, C) in the size and the channels of `geometry`."""
    if images.shape[3] != geometry.channels:
        images = np.repeat(images, 3, axis=3) if geometry.channels == 3 else _grey(images)
    if images.shape[1] == geometry.image_size:
        return images
    squashed = replace(geometry, fit="squash")  # they are square already: there is nothing to crop
    return np.stack([apply(picture, squashed) for picture in images])


def _grey(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.stack([np.asarray(Image.fromarray(picture).convert("L"))[:, :, None] for picture in images])


def read_teacher(config: TrainConfig, classes: tuple[str, ...], place: torch.device) -> Teacher | None:
    """Return the model that `config` names, None without one.

    Raises UserError when it lacks one of the classes, is exported and computes something else on this machine, or has a
    network that code makes other than the student's.
    """
    if config.teacher is None:
        return None
    _refuse_other_code(Path(config.teacher), config.model)
    choice = Choice(threads=torch.get_num_threads())  # as the run has: they decide on the last bits
    engine = load(config.teacher, place.type, config.model, choice=choice).engine
    theirs = engine.card.classes
    missing = [name for name in classes if name not in theirs]
    if missing:
        listing = ", ".join(map(repr, missing[:8])) + (f" and {len(missing) - 8} more" if len(missing) > 8 else "")
        raise UserError(
            f"--teacher {config.teacher} does not know {listing}: a teacher must know all classes of DATA; "
            f"it has {len(theirs)}, of which {len(classes) - len(missing)} are among the {len(classes)} here"
        )
    return Teacher(engine, np.array([theirs.index(name) for name in classes], np.intp))


def _refuse_other_code(teacher: Path, model: str) -> None:
    """Raise UserError for a network that some code makes which the user did not name as the student's."""
    path = find_model(teacher)
    name = read_card(path).model if path.suffix == ".safetensors" and path.is_file() else model
    if is_code(name) and name != model:
        raise UserError(
            f"--teacher {teacher}: its network is made by calling {name}, which runs that code; train calls only that "
            f"of --model. Export the teacher (depthwise export {teacher} --factory {name}), and name the exported file"
        )


def teacher_hash(config: TrainConfig) -> str | None:
    """Return the hash of the teacher's file, None without a teacher. Raises UserError when it cannot be read."""
    if config.teacher is None:
        return None
    path = find_model(Path(config.teacher))
    if not path.is_file():
        raise UserError(f"--teacher {config.teacher}: no such model file or run folder")
    return content_hash(path)
