"""A running average of the weights, which often answers better than the weights of the last step."""

import torch
from torch import nn


def decay_at(step: int, decay: float) -> float:
    """Return the share of the old average in the update after step number `step`, counted from 0.

    min(decay, (1 + step) / (10 + step)): the average of the first steps is not held back by the weights that training
    began with (TensorFlow's ExponentialMovingAverage with num_updates; the authors of MobileNet and of EfficientNet
    use it with a decay of 0.9999).
    """
    return min(decay, (1 + step) / (10 + step))


@torch.no_grad()
def update(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Set average = decay average + (1 - decay) model: weights, and batch norm's statistics with them.

    Averaging: Polyak & Juditsky 1992, "Acceleration of Stochastic Approximation by Averaging"; its exponential form:
    Szegedy et al. 2015, arXiv:1512.00567, section 8. What is no fraction (batch norm's counter) is copied.
    """
    for old, new in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if old.is_floating_point():
            old.lerp_(new, 1 - decay)
        else:
            old.copy_(new)
