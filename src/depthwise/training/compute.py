"""How a step is computed: in which precision, by whose kernels. Weights, gradients, loss and answers are float32."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from depthwise.models.blocks import Network

Precision = Literal["fp32", "bf16"]
Kernels = Literal["torch", "fused"]
NAMES = {"fp32": "float32", "bf16": "bfloat16"}


@dataclass(frozen=True)
class Method:
    """How a run's steps are computed: chosen once, stored with the run, the same until it ends.

    Convolutions and activations of training; validation, evaluation and prediction are always float32. Memory is always
    laid out channels last: bench/layout.py compares.
    """

    precision: Precision = "fp32"
    kernels: Kernels = "torch"
    places: Mapping[str, str] = field(default_factory=dict)
    """With fused kernels: who computes each place of the network that has some; empty: all of them are fused."""
    compile: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return what `to_json` told."""
        return cls(**values)

    def describe(self) -> str:
        """Return a few words for people."""
        num_fused = sum(kernels == "fused" for kernels in self.places.values())
        share = f" at {num_fused} of {len(self.places)} places" if self.places else ""
        fused = f", fused kernels{share}" if self.kernels == "fused" else ""
        return f"{NAMES[self.precision]}{fused}{', compiled' if self.compile else ''}"


PLAIN = Method()


def prepare(model: nn.Module, method: Method, device: torch.device) -> nn.Module:
    """Return the network on its device, laid out and with its kernels as `method` says; names of weights stay.

    Before the optimiser is made and before a state is restored.
    """
    model = model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if method.kernels == "fused":
        from depthwise.kernels.swap import fuse  # numba takes a while to import

        model = fuse(model, method.places or None)
    return model


class Compute:
    """Computes a prepared network's logits for training."""

    def __init__(self, model: nn.Module, method: Method = PLAIN) -> None:
        self.method, self.model = method, model
        self.network: Callable[[Tensor], Tensor] = torch.compile(model) if method.compile else model

    def logits(self, images: Tensor) -> Tensor:
        """Return float32 logits (B, K) of float32 images (B, C, H, W), with their graph.

        In bfloat16 by autocast: convolutions and matrix products, and what works on their results element by element;
        batch norm's statistics and its weights are float32.
        """
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.method.precision == "bf16"):
            logits = self.network(images)
        return logits.float()

    def all_logits(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return `logits`, and those of auxiliary classifiers where the network has any (these are not compiled)."""
        if not isinstance(self.model, Network) or not self.model.has_auxiliary:
            return self.logits(images), []
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.method.precision == "bf16"):
            logits, others = self.model.with_auxiliary(images)
        return logits.float(), [other.float() for other in others]


def has_bfloat16(device: torch.device) -> bool:
    """Return whether the device computes in bfloat16 itself; elsewhere PyTorch only imitates it, slowly."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
