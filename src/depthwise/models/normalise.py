"""The step from pixels to the network's numbers, shared by training and by prediction in PyTorch."""

import torch
from torch import Tensor, nn


class Normalise(nn.Module):
    """uint8 (B, H, W, C) -> float32 (B, C, H, W), channels last in memory: (value / 255 - mean) / std."""

    offset: Tensor
    scale: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("offset", 255 * torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("scale", 1 / (255 * torch.tensor(std).view(1, -1, 1, 1)), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.levels(images.permute(0, 3, 1, 2).float())

    def levels(self, pixels: Tensor) -> Tensor:
        """Return the same for float (B, C, H, W), values from 0 to 255."""
        return (pixels - self.offset) * self.scale
