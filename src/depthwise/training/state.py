"""All that a run must remember to go on as if it had never stopped."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

POSITION = ("epoch", "batch", "step", "loss_sum", "num_seen", "best_top1", "best_loss", "best_epoch")


@dataclass
class TrainState:
    """Model, optimiser and one position. Order, crops and dropout are functions of the position and need no memory."""

    model: nn.Module
    optimizer: Optimizer
    average: nn.Module | None = None
    """The running average of the model's weights, where there is one: what is validated and kept instead of them."""
    epoch: int = 0
    """Epochs that are done."""
    batch: int = 0
    """Batches that are done in the epoch under way."""
    step: int = 0
    """Steps that are done, all epochs together."""
    loss_sum: float = 0.0
    """Training loss of the epoch under way, summed over pictures."""
    num_seen: int = 0
    """Pictures seen in the epoch under way."""
    best_top1: float = -1.0
    best_loss: float = float("inf")
    best_epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    """The rows of metrics.jsonl so far."""

    @property
    def predictor(self) -> nn.Module:
        """The network that answers: the average where there is one."""
        return self.average or self.model

    @property
    def networks(self) -> dict[str, nn.Module]:
        """Model and average, by what their tensors are called."""
        return {"model": self.model} | ({"average": self.average} if self.average else {})

    def tensors(self) -> dict[str, Tensor]:
        """Return weights, statistics, their average and the optimiser's memory by name."""
        named = {
            f"{kind}.{name}": t for kind, network in self.networks.items() for name, t in network.state_dict().items()
        }
        for name, parameter in self.model.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                if isinstance(value, Tensor):
                    named[f"optimizer.{key}.{name}"] = value
        return named

    def is_finite(self) -> bool:
        """Tell whether there is no nan and no infinity in `tensors`."""
        return all(bool(t.isfinite().all()) for t in self.tensors().values() if t.is_floating_point())

    def position(self) -> dict[str, Any]:
        """Return everything else as plain values."""
        return {name: getattr(self, name) for name in POSITION} | {"history": self.history}

    def restore(self, tensors: dict[str, Tensor], position: dict[str, Any]) -> None:
        """Take over what `tensors` and `position` returned. Raises KeyError or RuntimeError when they do not fit.

        An average that is not among them begins with the weights.
        """
        for kind, network in self.networks.items():
            prefix = f"{kind}." if any(name.startswith(f"{kind}.") for name in tensors) else "model."
            network.load_state_dict({n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)})
        parameters = dict(self.model.named_parameters())
        self.optimizer.state.clear()
        for name, tensor in tensors.items():
            if name.startswith("optimizer."):
                _, key, parameter_name = name.split(".", 2)
                parameter = parameters[parameter_name]
                self.optimizer.state[parameter][key] = _like(tensor, parameter)
        for name in POSITION:
            setattr(self, name, position[name])
        self.history = list(position["history"])


def _like(memory: Tensor, parameter: Tensor) -> Tensor:
    """Return a copy that lies in memory as the parameter does; a single number (AdamW's step) on its device."""
    if memory.ndim == 0:
        return memory.to(parameter.device, copy=True)
    is_nhwc = parameter.ndim == 4 and parameter.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if is_nhwc else torch.contiguous_format
    return memory.to(parameter.device).clone(memory_format=layout)
