"""Tensors of which it is known how their names stand for a network's."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from depthwise.models.blocks import Network
from depthwise.models.registry import ModelSpec
from depthwise.models.weights.card import FileCard


@dataclass(frozen=True)
class Identified:
    """Tensors, as PyTorch has them, and whose they are."""

    model: Network
    spec: ModelSpec
    tensors: Mapping[str, Tensor]
    library: str
    paths: dict[str, str]
    """Layer here -> layer there."""
    where: str
    """For messages."""
    card: FileCard | None = None
    """What a model file of ours says of its network; None for other sources."""

    @property
    def num_classes(self) -> int | None:
        """Number of classes that the weights know; None where their classifier is missing, or no such classifier."""
        ours, theirs = self._weights("classifier", self.model.get_submodule("classifier"))
        if ours is None or theirs is None or theirs.ndim < 2:
            return None
        return len(theirs) or None if theirs.shape[1:].numel() == ours.shape[1:].numel() else None

    @property
    def in_channels(self) -> int | None:
        """Number of channels that the weights know; None where their first convolution is missing, or no such one."""
        layers = self.model.named_modules()
        name, first = next((name, layer) for name, layer in layers if isinstance(layer, nn.Conv2d))
        ours, theirs = self._weights(name, first)
        if ours is None or theirs is None or theirs.ndim != 4:
            return None
        others = [ours.shape[axis] == theirs.shape[axis] for axis in (0, 2, 3)]
        return theirs.shape[1] or None if all(others) else None

    def _weights(self, path: str, layer: nn.Module) -> tuple[Tensor | None, Tensor | None]:
        """Return the weights of a layer here, and what stands for them there."""
        ours = getattr(layer, "weight", None)
        return ours if isinstance(ours, Tensor) else None, self.tensors.get(f"{self.paths.get(path)}.weight")
