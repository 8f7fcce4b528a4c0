"""`data.geometry` as tensor operations, so that an exported file takes photos of any size and sees what training saw.

Pillow's resampling is a weighted sum along rows, rounded, then along columns, rounded; weights are whole multiples of
2^-22. They follow from sizes alone: one matrix for the columns and one for the rows do squash, letterbox and crop
alike, without a slice whose length depends on the photo. In float64 all sums are exact, so the result is Pillow's to
the bit.
"""

import torch
from torch import Tensor, nn

from depthwise.data.geometry import FILL, Geometry

SUPPORT = {"bilinear": 1.0, "bicubic": 2.0}
"""Half the width of the kernel, in source pixels (in target pixels where the photo is larger)."""


PRECISION = 2.0**22
"""Pillow's fixed point (src/libImaging/Resample.c, PRECISION_BITS)."""


class Resize(nn.Module):
    """uint8 (B, H, W, C) -> float (B, C, S, S) of whole numbers from 0 to 255."""

    crop_share: Tensor  # not a number: the exporter would round it to float32

    def __init__(self, geometry: Geometry) -> None:
        super().__init__()
        self.geometry = geometry
        self.register_buffer("crop_share", torch.tensor(geometry.crop_share, dtype=torch.float64))

    def forward(self, images: Tensor) -> Tensor:
        """Return the photos as the network takes them."""
        _, height, width, _ = images.shape
        tall, wide = torch.scalar_tensor(height, dtype=torch.float64), torch.scalar_tensor(width, dtype=torch.float64)
        rows, bars_y = self._matrix(tall, wide, height)  # (S, H)
        columns, bars_x = self._matrix(wide, tall, width)  # (S, W)
        x = images.permute(0, 3, 1, 2).double()
        x = _to_levels(x @ columns.T)  # (B, C, H, S)
        x = _to_levels(rows @ x)  # (B, C, S, S)
        return torch.where(bars_y[:, None] | bars_x, float(FILL), x).float()

    def _matrix(self, side: Tensor, other: Tensor, num_pixels: int) -> tuple[Tensor, Tensor]:
        """Return weights (S, num_pixels) for one axis of the photo, and which of the S places lie in a bar."""
        size = self.geometry.image_size
        place = torch.arange(size, dtype=torch.float64)
        start, length, first, count = self._box(side, other)
        scale = length / count
        centre = start + (place - first + 0.5) * scale
        stretch = scale.clamp(min=1.0)  # antialiasing: the kernel covers all pixels that one of the target stands for
        pixel = torch.arange(num_pixels, dtype=torch.float64) + 0.5
        weights = self._kernel((pixel - centre[:, None]) / stretch)
        weights = weights / weights.sum(1, keepdim=True).clamp(min=1e-12)
        weights = _round_half_away(weights * PRECISION)
        is_bar = (place < first) | (place >= first + count)
        return weights, is_bar

    def _box(self, side: Tensor, other: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return where the source begins and how long it is, and where the target begins and how long it is."""
        size, zero = side.new_full((), self.geometry.image_size), side.new_zeros(())
        if self.geometry.fit == "squash":
            return zero, side, zero, size
        if self.geometry.fit == "crop":
            short = torch.minimum(side, other) * self.crop_share
            start = (side - short) / 2
            begin, end = start.float(), (start + short).float()  # as Pillow keeps a box
            return begin.double(), (end - begin).double(), zero, size
        count = (side * (size / torch.maximum(side, other))).round().clamp(min=1.0)
        return zero, side, ((size - count) / 2).floor(), count

    def _kernel(self, distance: Tensor) -> Tensor:
        x = distance.abs()
        if self.geometry.resample == "bilinear":
            return (1 - x).clamp(min=0.0)
        near = (1.5 * x - 2.5) * x * x + 1  # Keys' cubic with a = -0.5
        far = ((-0.5 * x + 2.5) * x - 4) * x + 2
        return torch.where(x < 1, near, torch.where(x < SUPPORT["bicubic"], far, torch.zeros_like(x)))


def _round_half_away(x: Tensor) -> Tensor:
    return x.sign() * (x.abs() + 0.5).floor()


def _to_levels(sums: Tensor) -> Tensor:
    return ((sums + PRECISION / 2) / PRECISION).floor().clamp(0.0, 255.0)
