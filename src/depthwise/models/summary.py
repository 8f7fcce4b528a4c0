"""What a network costs, layer by layer: measured on the `meta` device, so nothing is computed."""

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn


class LayerRow(NamedTuple):
    """One layer that does something (a container has a row when it has parameters of its own)."""

    name: str
    type: str
    output_shape: tuple[int, ...]  # of one picture: without the batch axis
    params: int  # trainable
    macs: int  # multiply-accumulates of convolutions and linear layers; 0 for all others


def summary(model: nn.Module, image_size: int = 224, in_channels: int | None = None) -> list[LayerRow]:
    """Return a row per layer, in the order of computation, for one picture of image_size x image_size.

    `in_channels` is read from the first convolution unless given. The model itself is not run and not changed.
    """
    twin = copy.deepcopy(model).to("meta").eval()
    if in_channels is None:
        in_channels = next((m.in_channels for m in twin.modules() if isinstance(m, nn.Conv2d)), 3)
    rows: list[LayerRow] = []

    def record(name: str, layer: nn.Module, output: Tensor) -> None:
        params = sum(p.numel() for p in layer.parameters(recurse=False) if p.requires_grad)
        rows.append(LayerRow(name, type(layer).__name__, tuple(output.shape[1:]), params, count_macs(layer, output)))

    for name, layer in twin.named_modules():
        is_leaf = not list(layer.children()) and not isinstance(layer, nn.Identity)
        if is_leaf or list(layer.parameters(recurse=False)):
            layer.register_forward_hook(lambda layer, _, output, name=name: record(name, layer, output))
    with torch.no_grad():
        twin(torch.empty(1, in_channels, image_size, image_size, device="meta"))
    return rows


def count_macs(layer: nn.Module, output: Tensor) -> int:
    """Return multiply-accumulates for one picture: outputs times inputs of each; other layers count as 0."""
    if isinstance(layer, nn.Conv2d):
        return output[0].numel() * layer.weight[0].numel()
    if isinstance(layer, nn.Linear):
        return output[0].numel() * layer.in_features
    return 0
