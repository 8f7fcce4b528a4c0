"""Depthwise and pointwise convolution worked out on two 4x4 maps (Howard et al. 2017, arXiv:1704.04861)."""

from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional

from ideas import drawing
from ideas.arithmetic import spell_out

MAPS = (
    ((1, 2, 0, 1), (0, 1, 3, 1), (2, 0, 1, 0), (1, 1, 0, 2)),
    ((2, 0, 1, 1), (1, 1, 0, 2), (0, 2, 1, 0), (1, 0, 2, 1)),
)
KERNELS = (((0, 1, 0), (1, 1, 1), (0, 1, 0)), ((1, 0, -1), (1, 0, -1), (1, 0, -1)))
MIX = ((1, 1), (1, -1), (0, 2))  # a row per output channel


class Numbers(NamedTuple):
    """Every map on the way."""

    maps: Tensor  # (2, 4, 4)
    kernels: Tensor  # (2, 3, 3)
    filtered: Tensor  # (2, 2, 2)
    mix: Tensor  # (3, 2)
    mixed: Tensor  # (3, 2, 2)
    separable_products: int
    standard_products: int


def depthwise(maps: Tensor, kernels: Tensor) -> Tensor:
    """Return each map (C, H, W) filtered by its own kernel (C, k, k), without padding: equation 3."""
    return functional.conv2d(maps[None], kernels[:, None], groups=len(maps))[0]


def pointwise(maps: Tensor, mix: Tensor) -> Tensor:
    """Return weighted sums of maps (C, H, W) by mix (N, C): the 1x1 convolution of section 3.1."""
    return functional.conv2d(maps[None], mix[:, :, None, None])[0]


def standard(maps: Tensor, kernels: Tensor, mix: Tensor) -> Tensor:
    """Return the same by one standard convolution, whose kernels are mix times kernels: equation 1."""
    return functional.conv2d(maps[None], mix[:, :, None, None] * kernels[None])[0]


def numbers() -> Numbers:
    """Return what page and figure show."""
    maps, kernels, mix = (torch.tensor(values, dtype=torch.float64) for values in (MAPS, KERNELS, MIX))
    filtered = depthwise(maps, kernels)
    mixed = pointwise(filtered, mix)
    products = filtered.numel() * kernels[0].numel() + mixed.numel() * len(maps)
    return Numbers(maps, kernels, filtered, mix, mixed, products, mixed.numel() * kernels.numel())


def draw(figure: Figure, found: Numbers) -> None:
    """Left the depthwise step, a row per channel; right the pointwise step, a row per output."""
    figure.set_size_inches(drawing.WIDTH, 3.2)
    axes = drawing.canvas(figure, 32)
    colours = (drawing.BLUE, drawing.ORANGE)
    axes.text(1, 2, "depthwise: a kernel for each channel", weight="bold", va="center")
    axes.text(34, 2, "pointwise: a weight for each channel", weight="bold", va="center")
    for index, colour in enumerate(colours):
        top = 7 + 14 * index
        axes.text(1, top - 1, f"channel {index + 1}", va="bottom", color=drawing.GREY)
        drawing.cells(axes, 1, top, found.maps[index], colour)
        drawing.frame(axes, 1, top, 7.2, 7.2)
        axes.text(12.3, top + 4.8, "*", ha="center", va="center", size=12)
        drawing.cells(axes, 14, top + 1.2, found.kernels[index], colour, share=0.7)
        axes.text(22.9, top + 4.8, "=", ha="center", va="center", size=12)
        drawing.cells(axes, 24.6, top + 2.4, found.filtered[index], colour)
        drawing.frame(axes, 24.6, top + 2.4, 2.4, 2.4)
    axes.plot((31.8, 31.8), (1, 31), color=drawing.PALE, linewidth=1)
    for index, weights in enumerate(found.mix):
        top = 6 + 9 * index
        axes.text(34, top + 2.4, f"output {index + 1}", va="center", color=drawing.GREY)
        for channel, colour in enumerate(colours):
            left = 41 + 12.2 * channel
            drawing.cells(axes, left, top + 1.2, [[weights[channel]]], colour, share=0.7)
            axes.text(left + 3.4, top + 2.4, "·", ha="center", va="center", size=12)
            drawing.cells(axes, left + 4.4, top, found.filtered[channel], colour)
            axes.text(left + 10.7, top + 2.4, "+="[channel], ha="center", va="center", size=12)
        drawing.cells(axes, 65.4, top, found.mixed[index], drawing.GREEN)


def text(found: Numbers) -> str:
    """Spell out the first number of the first map, and of each output."""
    window, kernel = found.maps[0, :3, :3].flatten().tolist(), found.kernels[0].flatten().tolist()
    first = found.filtered[:, 0, 0].tolist()
    corners = zip(found.mix.tolist(), found.mixed[:, 0, 0].tolist(), strict=True)
    outputs = "; ".join(spell_out(weights, first, result) for weights, result in corners)
    return "\n".join(
        [
            f"- Depthwise, the framed window of channel 1: {spell_out(kernel, window, first[0])}.",
            f"- Pointwise, the upper left corner of each output: {outputs}.",
            f"- Multiplications: {found.separable_products} in two steps, {found.standard_products} for a standard "
            f"convolution of {len(found.maps)} channels to {len(found.mix)} "
            f"(ratio {found.separable_products / found.standard_products:.3f} = 1/{len(found.mix)} + "
            f"1/{found.kernels[0].numel()}).",
        ]
    )
