"""The kernels' functions in plain PyTorch, with the same signatures: what the tests hold the kernels to."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from depthwise.kernels.norm_depthwise import Window

ACTS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "relu": functional.relu,
    "relu6": functional.relu6,
    "hard_swish": functional.hardswish,
    "silu": functional.silu,
}


def norm_act(x: Tensor, norm: nn.BatchNorm2d, act: str, residual: Tensor | None = None) -> Tensor:
    """Return act(norm(x) (+ residual))."""
    y = norm(x)
    return ACTS[act](y if residual is None else y + residual)


def norm_depthwise(
    x: Tensor,
    before: nn.BatchNorm2d | None,
    before_act: str,
    weight: Tensor,
    window: Window,
    after: nn.BatchNorm2d,
    after_act: str,
) -> Tensor:
    """Return after_act(after(depthwise(before_act(before(x)))))."""
    y = x if before is None else norm_act(x, before, before_act)
    bottom = (window.out_height - 1) * window.stride + window.size - x.shape[2] - window.top
    right = (window.out_width - 1) * window.stride + window.size - x.shape[3] - window.left
    y = functional.pad(y, (window.left, right, window.top, bottom))
    return norm_act(functional.conv2d(y, weight, None, window.stride, 0, 1, len(weight)), after, after_act)


def squeeze_excite(x: Tensor, gates: Callable[[Tensor], Tensor], parameters: list[Tensor]) -> Tensor:
    """Return x * gates(mean of x over its positions)."""
    return x * gates(x.mean((2, 3), keepdim=True))


def join_shuffled(left: Tensor, right: Tensor) -> Tensor:
    """Return the channels of both by turns."""
    return functional.channel_shuffle(torch.cat([left, right], 1), 2)
