"""Other classes, or one channel for three, in a network that has weights."""

from dataclasses import replace
from statistics import fmean

import torch
from torch import Tensor, nn

from depthwise.errors import UserError
from depthwise.models.blocks import ConvNormAct, Network
from depthwise.models.create import Build, Preprocessing, build_of, keep_build


def adapt(model: Network, build: Build) -> None:
    """Give a network with weights the classes and channels of `build`: a fresh classifier, a first convolution summed.

    Raises UserError for other changes of channels than from three to one.
    """
    own = build_of(model)
    if build.in_channels != own.in_channels:
        if (own.in_channels, build.in_channels) != (3, 1):
            raise UserError(f"weights for {own.in_channels} channels cannot be made to fit {build.in_channels}")
        own = replace(own, in_channels=1, preprocessing=_take_grey(model, own.preprocessing))
    if build.num_classes != own.num_classes:
        model.reset_classifier(build.num_classes)
        own = replace(own, num_classes=build.num_classes, classes=())
    keep_build(model, own)


@torch.no_grad()
def _take_grey(model: Network, expects: Preprocessing | None) -> Preprocessing | None:
    """Let the first convolution take one channel, and give what three equal ones gave; return the colours it expects.

    With grey g = s u + m, channel c was W_c * (g - m_c) / s_c = (s / s_c) W_c * u + (m - m_c) / s_c sum(W_c). The last
    term is the same at all places but the border, where the zeros of the padding have no part in it.
    """
    path, first = next((name, layer) for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d))
    weight = first.weight.detach()  # (out_channels, 3, H, W)
    grey = expects and replace(expects, mean=(fmean(expects.mean),), std=(fmean(expects.std),))
    if expects and grey:
        mean, std = (weight.new_tensor(colours)[:, None, None] for colours in (expects.mean, expects.std))
        _add(model, path, first, (weight * (grey.mean[0] - mean) / std).sum((1, 2, 3)))
        weight = weight * (grey.std[0] / std)
    first.in_channels, first.weight = 1, nn.Parameter(weight.sum(1, keepdim=True))
    return grey


def _add(model: Network, path: str, conv: nn.Conv2d, offset: Tensor) -> None:
    """Add a number per channel to what a convolution gives: to its bias, or to what its batch norm subtracts."""
    if conv.bias is not None:
        conv.bias += offset
        return
    unit = model.get_submodule(path.rpartition(".")[0])
    assert isinstance(unit, ConvNormAct)  # all our convolutions without bias are in one
    norm = unit.get_submodule("norm")
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None
    norm.running_mean -= offset
