"""Standard against depthwise-separable convolution: what they cost (Howard et al. 2017, arXiv:1704.04861)."""

from fractions import Fraction
from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from torch import nn

from depthwise.models import blocks
from depthwise.models.create import create_model
from depthwise.models.mobilenet_v1 import Separable
from depthwise.models.summary import summary_of
from ideas import drawing
from ideas.arithmetic import Cost, cost_of

LAYER = "blocks.6"  # the first of the five equal pairs in the middle of the network
KERNELS = (3, 5, 7)
CHANNELS = (8, 16, 32, 64, 128, 256, 512, 1024)


class Numbers(NamedTuple):
    """One layer, the ratio for many layers, and the whole network."""

    channels: int  # in and out
    map_size: int
    standard: Cost
    depthwise: Cost
    pointwise: Cost
    ratios: dict[int, tuple[float, ...]]  # kernel size -> ratio for each of CHANNELS
    full_network: Cost  # MobileNetV1 with standard convolutions
    network: Cost


def ratio(kernel_size: int, out_channels: int) -> Fraction:
    """Return the cost of depthwise + pointwise over that of a standard convolution: section 3.1, after equation 5."""
    return Fraction(1, out_channels) + Fraction(1, kernel_size**2)


def standard_cost(in_channels: int, out_channels: int, kernel_size: int, map_size: int) -> Cost:
    """Return the cost of one standard convolution with 'same' padding (equation 2)."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
    return cost_of(conv, map_size, in_channels)


def separable_cost(in_channels: int, out_channels: int, map_size: int) -> tuple[Cost, Cost]:
    """Return the costs of the 3x3 depthwise and the pointwise convolution of our own block, without norms."""
    pair = Separable(in_channels, out_channels, stride=1, multiplier=1, norm=nn.Identity, act=nn.ReLU)
    return cost_of(pair.depthwise, map_size, in_channels), cost_of(pair.pointwise, map_size, in_channels)


def standard_mobilenet() -> nn.Module:
    """Return MobileNetV1 with a 3x3 convolution in place of every pair, on the meta device ("Conv MobileNet")."""
    with torch.device("meta"):
        model = create_model("mobilenet_v1")
        norm = blocks.batch_norm(1e-3, 0.1)
        pairs = {name: module for name, module in model.named_modules() if isinstance(module, Separable)}
        for name, pair in pairs.items():
            first, second = (layer for layer in pair.modules() if isinstance(layer, nn.Conv2d))
            block = blocks.ConvNormAct(
                first.in_channels, second.out_channels, 3, stride=first.stride[0], norm=norm, act=nn.ReLU
            )
            model.set_submodule(name, block)
    return model


def numbers() -> Numbers:
    """Return what page and figure show."""
    rows = summary_of("mobilenet_v1")
    (shape,) = [row.output_shape for row in rows if row.name == f"{LAYER}.pointwise.conv"]
    channels, _, map_size = shape
    depthwise, pointwise = separable_cost(channels, channels, map_size)
    return Numbers(
        channels,
        map_size,
        standard_cost(channels, channels, 3, map_size),
        depthwise,
        pointwise,
        {size: tuple(float(ratio(size, count)) for count in CHANNELS) for size in KERNELS},
        cost_of(standard_mobilenet(), 224),
        Cost(sum(row.params for row in rows), sum(row.macs for row in rows)),
    )


def draw(figure: Figure, found: Numbers) -> None:
    """Left the multiply-adds of one layer, right the ratio over the number of output channels."""
    figure.set_size_inches(drawing.WIDTH, 3.1)
    left, right = figure.add_axes((0.13, 0.16, 0.35, 0.72)), figure.add_axes((0.6, 0.16, 0.265, 0.72))
    standard, depthwise, pointwise = (part.macs / 1e6 for part in (found.standard, found.depthwise, found.pointwise))
    bars = {"standard": standard, "depthwise": depthwise, "pointwise": pointwise}
    colours = (drawing.ORANGE, drawing.RED, drawing.BLUE)
    for y, ((name, macs), colour) in enumerate(zip(bars.items(), colours, strict=True)):
        left.barh(-y, macs, height=0.6, color=colour, edgecolor=colour)
        is_long = macs > standard / 2
        left.text(macs + (-10 if is_long else 10), -y, f"{macs:.1f}", va="center", ha="right" if is_long else "left")
        left.text(-10, -y, name, va="center", ha="right")
    share = (depthwise + pointwise) / standard
    left.text(standard / 3.5, -1.5, f"together {share:.3f}\nof the standard", va="center", weight="bold")
    left.set(ylim=(-2.6, 0.5), yticks=[], xlabel="million multiply-adds")
    size, count = found.map_size, found.channels
    left.set_title(f"3x3 on {size}x{size}, {count} to {count} channels", loc="left")
    left.spines["left"].set_visible(False)

    colours = (drawing.BLUE, drawing.GREEN, drawing.RED)
    for (kernel_size, ratios), colour in zip(found.ratios.items(), colours, strict=True):
        right.plot(CHANNELS, ratios, color=colour, marker="o", markersize=3)
        right.axhline(1 / kernel_size**2, color=colour, linewidth=0.8, linestyle=":")
        label = f"{kernel_size}x{kernel_size}: to 1/{kernel_size**2}"
        right.text(CHANNELS[-1] * 1.3, ratios[-1], label, va="center", color=colour)
    right.set(xscale="log", ylim=(0, 0.25), yticks=(0, 0.1, 0.2), xticks=(8, 64, 512), xlabel="output channels N")
    right.set_xticks([], minor=True)
    right.set_xticklabels(("8", "64", "512"))
    right.set_title("cost ratio 1/N + 1/D²", loc="left")


def text(found: Numbers) -> str:
    """Return the costs of the layer and of the network."""
    size, count = found.map_size, found.channels
    pair = Cost(*(a + b for a, b in zip(found.depthwise, found.pointwise, strict=True)))
    rows = [
        f"| {name} | {part.weights:,} | {part.macs:,} | {part.macs / whole.macs:.4f} |"
        for name, part, whole in (
            (f"standard 3x3, {count} to {count} channels on {size}x{size}", found.standard, found.standard),
            ("depthwise", found.depthwise, found.standard),
            ("pointwise", found.pointwise, found.standard),
            ("depthwise + pointwise", pair, found.standard),
            ("MobileNetV1 with standard convolutions", found.full_network, found.full_network),
            ("MobileNetV1", found.network, found.full_network),
        )
    ]
    return "\n".join(
        [
            "| | parameters | multiply-adds | ratio |",
            "|---|---:|---:|---:|",
            *rows,
            "",
            f"By the formula, for {count} output channels and a 3x3 kernel: 1/{count} + 1/{3**2} = "
            f"{float(ratio(3, count)):.4f}; for 256: {float(ratio(3, 256)):.4f}; for a 5x5 kernel and 256: "
            f"{float(ratio(5, 256)):.4f}.",
        ]
    )
