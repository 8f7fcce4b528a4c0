"""The optimisers: SGD, TensorFlow's RMSprop, AdamW; weight decay on weights only."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from depthwise.config import TrainConfig
from depthwise.training.stages import frozen_at_first, rate_factors

BETA2 = 0.999
"""AdamW's share of the old mean square (Kingma & Ba 2015, arXiv:1412.6980, algorithm 1)."""


def build_optimizer(model: nn.Module, config: TrainConfig) -> Optimizer:
    """Return the optimiser over the model's parameters; it takes no step before `set_learning_rate`.

    PyTorch's own change all parameters by one call (`fused`), not each by several.

    sgd: PyTorch's, with Nesterov's momentum or plain: the rate is outside of the momentum, so a lower one takes hold at
    once (Sutskever et al. 2013 and Caffe have it inside). adamw: Loshchilov & Hutter 2019, arXiv:1711.05101. rmsprop:
    see RMSpropTF.
    """
    config = config.settled()
    groups = list(parameter_groups(model, config))
    if config.optimizer == "sgd":
        return SGD(
            groups, lr=0.0, momentum=config.momentum, nesterov=config.nesterov and config.momentum > 0, fused=True
        )
    assert config.epsilon is not None
    if config.optimizer == "adamw":
        return AdamW(groups, lr=0.0, betas=(config.momentum, BETA2), eps=config.epsilon, fused=True)
    return RMSpropTF(groups, decay=config.rms_decay, momentum=config.momentum, epsilon=config.epsilon)


def parameter_groups(model: nn.Module, config: TrainConfig) -> Iterable[dict[str, Any]]:
    """Yield groups of parameters that share weight decay and the factor of the learning rate, `rate_factor`.

    Batch norm, biases and scales of channels do not decay (Goyal et al. 2017, arXiv:1706.02677, section 5.3). What is
    frozen at first has groups of its own: in one group SGD's momentum has begun for all weights, or for none.
    """
    factors, late = rate_factors(model, config.layer_decay), frozen_at_first(model, config)
    for kind in sorted({(factor, parameter in late) for parameter, factor in factors.items()}):
        mine = [parameter for parameter in model.parameters() if (factors[parameter], parameter in late) == kind]
        weights, vectors = ([p for p in mine if is_matrix(p) == wanted] for wanted in (True, False))
        factor = kind[0]
        yield {"params": weights, "weight_decay": config.weight_decay, "rate_factor": factor}
        yield {"params": vectors, "weight_decay": 0.0, "rate_factor": factor}


def is_matrix(parameter: Tensor) -> bool:
    """Return whether a parameter is a matrix or kernel; a row of numbers is none, shaped (C, 1, 1), neither."""
    return parameter.ndim == 2 or parameter.numel() > max(parameter.shape, default=1)


def set_learning_rate(optimizer: Optimizer, lr: float) -> None:
    """Use `lr` in the next step, times the group's own factor where it has one."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("rate_factor", 1.0)


class RMSpropTF(Optimizer):
    """RMSprop as TensorFlow has it (tf.compat.v1.train.RMSPropOptimizer), with which Google trained its networks.

        s = decay s + (1 - decay) g^2,   m = momentum m + lr g / sqrt(s + epsilon),   w = w - m

    with s = 1 and m = 0 at first (PyTorch's has s = 0, epsilon outside the root, and lr outside the momentum, which
    makes another optimiser of it where the rate changes). L2 decay is part of the gradient g. Decay 0.9 and momentum
    0.9 throughout (MobileNetV2, arXiv:1801.04381, section 6.1; V3, arXiv:1905.02244, section 6.1.1; EfficientNet,
    arXiv:1905.11946, section 5.2); epsilon 1.0 for V1 and V2 in the authors' code (slim), 1e-3 for V3 and EfficientNet.
    """

    def __init__(self, params: Any, *, decay: float, momentum: float, epsilon: float) -> None:
        super().__init__(
            params, {"lr": 0.0, "decay": decay, "momentum": momentum, "epsilon": epsilon, "weight_decay": 0.0}
        )

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Change all parameters that have a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._change(parameter, parameter.grad, group)

    def _change(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        # One tensor after the other: torch's _foreach calls, whose tensors leave a processor's caches, take 1.6 times
        # as long (MobileNetV3-large in channels last, one thread: 36 ms of processor time against 22).
        square, momentum = self._memory(parameter)
        gradient = gradient.add(parameter, alpha=group["weight_decay"])
        square.mul_(group["decay"]).addcmul_(gradient, gradient, value=1 - group["decay"])
        root = (square + group["epsilon"]).sqrt_()
        momentum.mul_(group["momentum"]).addcdiv_(gradient, root, value=group["lr"])
        parameter.sub_(momentum)

    def _memory(self, parameter: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean square and momentum of a parameter."""
        memory = self.state[parameter]
        if not memory:
            memory["mean_square"], memory["momentum"] = torch.ones_like(parameter), torch.zeros_like(parameter)
        return memory["mean_square"], memory["momentum"]
