"""The join and shuffle of two tensors as one differentiable function, over the kernels of `shuffle`."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from depthwise.kernels import shuffle as kernels
from depthwise.kernels.norm_act import channels_last, positions
from depthwise.kernels.threads import launch


class _JoinShuffled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor) -> Tensor:
        num_images, num_channels, height, width = left.shape
        shape = (num_images, 2 * num_channels, height, width)
        out = torch.empty(shape, dtype=left.dtype, memory_format=torch.channels_last)
        launch(kernels.interleave, *map(positions, (channels_last(left), channels_last(right), out)))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        num_images, num_channels, height, width = grad.shape
        shape = (num_images, num_channels // 2, height, width)
        left, right = (torch.empty(shape, dtype=grad.dtype, memory_format=torch.channels_last) for _ in range(2))
        launch(kernels.separate, *map(positions, (channels_last(grad), left, right)))
        return left, right


def join_shuffled(left: Tensor, right: Tensor) -> Tensor:
    """Return the channels of two tensors (B, C, H, W) of one type by turns, (B, 2 C, H, W)."""
    out: Tensor = _JoinShuffled.apply(left, right)
    return out
