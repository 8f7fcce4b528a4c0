"""The optimiser: SGD with Nesterov momentum; weight decay on weights only."""

from torch import nn
from torch.optim import SGD, Optimizer


def build_optimizer(model: nn.Module, *, momentum: float, weight_decay: float) -> SGD:
    """Return SGD over the model's parameters; batch norm and biases do not decay (Goyal et al. 2017, section 5.3).

    All parameters are changed by one call (`fused`), not each by several.
    """
    weights = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": weights, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return SGD(groups, lr=0.0, momentum=momentum, nesterov=momentum > 0, fused=True)


def set_learning_rate(optimizer: Optimizer, lr: float) -> None:
    """Use `lr` in the next step, for all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = lr
