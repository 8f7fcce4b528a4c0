"""`.pt2`: the network as a program of torch.export, without our code. Needs torch, to write and to run."""

import contextlib
import io
import json
import tempfile
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from depthwise.artifact import KEY, Card
from depthwise.deploy.engine import card_of, read_metadata
from depthwise.deploy.export import deployable, outputs_of
from depthwise.deploy.unknown import Features
from depthwise.errors import UserError
from depthwise.metrics import Logits

ENTRY = f"{KEY}.json"


class Photos(nn.Module):
    """uint8 photos of the network's size (B, S, S, C) -> what `export.outputs_of` names."""

    def __init__(self, model: nn.Module, card: Card) -> None:
        super().__init__()
        self.network = deployable(model, card)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return probabilities and logits, and features where they are asked for."""
        found: tuple[Tensor, ...] = self.network(images.permute(0, 3, 1, 2).float())
        return found


def example(card: Card, batch: int) -> Tensor:
    """Return photos to trace with."""
    side, channels = card.geometry.image_size, card.geometry.channels
    return torch.zeros(batch, side, side, channels, dtype=torch.uint8)


def to_program(model: nn.Module, card: Card) -> torch.export.ExportedProgram:
    """Return the program; the batch may have any size."""
    batch = torch.export.Dim("batch")
    with torch.no_grad():
        return torch.export.export(
            Photos(_on_its_own(model), card).eval(), (example(card, 2),), dynamic_shapes=({0: batch},), strict=False
        )


def _on_its_own(model: nn.Module) -> nn.Module:
    """Return a copy each of whose tensors has memory of its own: those of a model file share its bytes."""
    copy = deepcopy(model)
    copy.load_state_dict(
        {name: t.clone(memory_format=torch.contiguous_format) for name, t in model.state_dict().items()}, assign=True
    )
    return copy


def pack_program(program: torch.export.ExportedProgram, metadata: dict[str, Any]) -> bytes:
    """Return a `.pt2` file's bytes."""
    stream = io.BytesIO()
    torch.export.save(program, stream, extra_files={ENTRY: json.dumps(metadata, ensure_ascii=False)})
    return stream.getvalue()


def to_litert(model: nn.Module, card: Card) -> bytes:
    """Return a `.tflite` file's bytes, without metadata; it takes one photo at a time."""
    import litert_torch

    with (
        tempfile.TemporaryDirectory(prefix="depthwise-litert-") as folder,
        contextlib.redirect_stdout(io.StringIO()),  # the converter tells of every pass
    ):
        out = Path(folder) / "model.tflite"
        litert_torch.convert(Photos(model, card).eval(), (example(card, 1),)).export(str(out))
        return out.read_bytes()


class ProgramEngine:
    """Computes logits by the program in a `.pt2` file."""

    takes_any_size = False

    def __init__(self, path: Path, *, trust_code: bool = False) -> None:
        """Raises UserError when it is no exported model.

        torch.export reads parts of a file by pickle, which runs what the file says: nothing of it is opened unless the
        caller trusts it.
        """
        if not path.is_file():
            raise UserError(f"{path}: no such model file")
        if not trust_code:
            raise UserError(
                f"{path}: opening a .pt2 file can run any code that is in it. Take the model's .onnx file instead; or, "
                "only if you trust where the file is from, give --trust-code (in Python: trust_code=True), which "
                "predict, evaluate, compare, verify and bench know"
            )
        extra = {ENTRY: ""}
        try:
            self.program = torch.export.load(path, extra_files=extra).module()
        except Exception as error:  # of a damaged archive nearly anything comes
            reason = (str(error).splitlines() or ["it is damaged"])[0]
            raise UserError(f"{path}: torch.export cannot read this model: {reason}") from error
        self.metadata = read_metadata({KEY: extra[ENTRY]}, path)
        self.card = card_of(self.metadata, path)

    @property
    def has_features(self) -> bool:
        """Whether the file gives the network's features beside its logits."""
        return "features" in outputs_of(self.card)

    def logits(self, images: NDArray[np.uint8]) -> Logits:
        """Return float32 (B, K) for uint8 (B, S, S, C)."""
        return self._answers(images)[0]

    def with_features(self, images: NDArray[np.uint8]) -> tuple[Logits, Features]:
        """Return logits (B, K) and features (B, D), both float32."""
        logits, features = self._answers(images)
        return logits, features

    @torch.inference_mode()
    def _answers(self, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        _, *found = self.program(torch.tensor(images))  # not probabilities
        return [tensor.numpy() for tensor in found]
