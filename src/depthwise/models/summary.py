"""What a network costs, layer by layer: measured on the `meta` device, so nothing is computed."""

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from depthwise.errors import UserError
from depthwise.models.create import create_model
from depthwise.models.registry import model_info

LARGEST = 1024
"""Side in px up to which a network is tried when it does not take smaller pictures."""


class LayerRow(NamedTuple):
    """One layer that does something (a container has a row when it has parameters of its own)."""

    name: str
    type: str
    output_shape: tuple[int, ...]  # of one picture: without the batch axis
    params: int  # trainable
    macs: int  # multiply-accumulates of convolutions and linear layers; 0 for all others


def summary(model: nn.Module, image_size: int = 224, in_channels: int | None = None) -> list[LayerRow]:
    """Return a row per layer, in the order of computation, for one picture of image_size x image_size.

    `in_channels` is read from the first convolution unless given. The model itself is not run and not changed. Raises
    UserError when the pictures are too small.
    """
    twin = copy.deepcopy(model).to("meta").eval()
    if in_channels is None:
        in_channels = next((m.in_channels for m in twin.modules() if isinstance(m, nn.Conv2d)), 3)
    rows: list[LayerRow] = []

    def record(name: str, layer: nn.Module, found: Any) -> None:
        output = _first_tensor(found)
        if output is None:
            return
        params = sum(p.numel() for p in layer.parameters(recurse=False) if p.requires_grad)
        kind = "Conv2d" if isinstance(layer, nn.Conv2d) else type(layer).__name__
        rows.append(LayerRow(name, kind, tuple(output.shape[1:]), params, count_macs(layer, output)))

    for name, layer in twin.named_modules():
        is_leaf = not list(layer.children()) and not isinstance(layer, nn.Identity)
        if is_leaf or list(layer.parameters(recurse=False)):
            layer.register_forward_hook(lambda layer, _, output, name=name: record(name, layer, output))
    _try(twin, image_size, in_channels)
    return rows


def _first_tensor(found: Any) -> Tensor | None:
    """Return a layer's output, of several the first: recurrent layers and attention give tuples."""
    if isinstance(found, Tensor):
        return found
    parts = found.values() if isinstance(found, dict) else found if isinstance(found, list | tuple) else ()
    return next((tensor for part in parts if (tensor := _first_tensor(part)) is not None), None)


def summary_of(
    name: str,
    image_size: int | None = None,
    num_classes: int | None = None,
    in_channels: int | None = None,
    **options: Any,
) -> list[LayerRow]:
    """Return the rows of a registered network, by default as in its paper, without making its weights."""
    with torch.device("meta"):
        model = create_model(name, num_classes, in_channels, **options)
    spec = model_info(name)
    return summary(model, spec.image_size if image_size is None else image_size, in_channels or spec.in_channels)


def check_image_size(model: nn.Module, image_size: int, in_channels: int) -> None:
    """Raise UserError when `model` takes no pictures of this side; it names the smallest that it takes."""
    _try(copy.deepcopy(model).to("meta").eval(), image_size, in_channels)


def _try(twin: nn.Module, image_size: int, in_channels: int) -> None:
    """Run a network on the meta device with one picture. Raises UserError when the size does not suit it."""
    if image_size < 1:
        raise UserError(f"pictures of {image_size} px: at least 1 px is needed")
    try:
        _run(twin, image_size, in_channels)
    except ValueError as error:  # of our own networks, which say what they take
        raise UserError(str(error)) from error
    except RuntimeError as error:
        smallest = _smallest_size(twin, in_channels)
        if smallest <= image_size or smallest > LARGEST:
            raise  # something else is wrong
        raise UserError(
            f"pictures of {image_size} px are too small for this network; it takes {smallest} px or more"
        ) from error


def _run(twin: nn.Module, image_size: int, in_channels: int) -> None:
    with torch.no_grad():
        twin(torch.empty(1, in_channels, image_size, image_size, device="meta"))


def _smallest_size(twin: nn.Module, in_channels: int) -> int:
    """Return the smallest side that runs, found by halving; one above LARGEST when none up to it does."""
    low, high = 1, LARGEST + 1
    while low < high:
        middle = (low + high) // 2
        try:
            _run(twin, middle, in_channels)
            high = middle
        except RuntimeError:
            low = middle + 1
    return low


def count_macs(layer: nn.Module, output: Tensor) -> int:
    """Return multiply-accumulates for one picture: outputs times inputs of each; other layers count as 0."""
    if isinstance(layer, nn.Conv2d):
        return output[0].numel() * layer.weight[0].numel()
    if isinstance(layer, nn.Linear):
        return output[0].numel() * layer.in_features
    return 0
