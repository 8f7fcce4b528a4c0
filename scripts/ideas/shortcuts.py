"""What carries x around a residual block where shapes change (He et al. 2015, arXiv:1512.03385, section 4.1)."""

from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

from depthwise.models import blocks
from depthwise.models.create import create_model
from depthwise.models.resnet import Residual
from depthwise.models.summary import summary
from ideas import drawing
from ideas.arithmetic import Cost, cost_of

NETWORK, IMAGE_SIZE = "resnet34", 224
ERRORS = {"none": 28.54, "A": 25.03, "B": 24.52, "C": 24.19}
"""ImageNet top-1 error of the 34-layer networks in percent, ten crops: the paper's Table 3."""
NAMES = {
    "none": "no shortcuts (plain)",
    "A": "A: identity, zero channels",
    "B": "B: projection",
    "C": "C: projections only",
}


class Transition(NamedTuple):
    """A shortcut that changes shape."""

    in_channels: int
    out_channels: int
    map_size: int  # of its output
    projection: Cost


class Numbers(NamedTuple):
    """ResNet-34 with each option, and its changes of shape."""

    networks: dict[str, Cost]
    transitions: tuple[Transition, ...]
    num_identities: int


def build(option: str) -> nn.Module:
    """Return ResNet-34 on the meta device with shortcuts none, A, B or C."""
    with torch.device("meta"):
        if option != "C":
            return create_model(NETWORK, shortcut=option)
        model = create_model(NETWORK, shortcut="B")
        norm = blocks.batch_norm(1e-5, 0.1)
        for block in residuals(model):
            if isinstance(block.shortcut, nn.Identity):
                channels = next(block.parameters()).shape[0]
                block.shortcut = blocks.ConvNormAct(channels, channels, norm=norm, act=None)
        return model


def residuals(model: nn.Module) -> list[Residual]:
    """Return the residual blocks of a network."""
    return [module for module in model.modules() if isinstance(module, Residual)]


def transitions() -> tuple[Transition, ...]:
    """Return the projections of ResNet-34 with option B, read from its rows."""
    model = build("B")
    shapes = {row.name: row.output_shape for row in summary(model, IMAGE_SIZE)}
    found = []
    for name, module in model.named_modules():
        if name.endswith("shortcut") and not isinstance(module, nn.Identity):
            conv = module.conv
            side = shapes[f"{name}.conv"][-1]
            cost = cost_of(module, side * conv.stride[0], conv.in_channels)
            found.append(Transition(conv.in_channels, conv.out_channels, side, cost))
    return tuple(found)


def numbers() -> Numbers:
    """Return what page and figure show."""
    num_identities = sum(isinstance(block.shortcut, nn.Identity) for block in residuals(build("B")))
    return Numbers({option: cost_of(build(option), IMAGE_SIZE) for option in NAMES}, transitions(), num_identities)


def block(axes: Axes, left: float, title: str, lines: tuple[str, str], middle: tuple[str, str] | None) -> None:
    """Draw a residual block, its branch at the left, its shortcut at the right with a layer in it or not."""
    centre, around = left + 4, left + 13.5
    axes.text(left - 1, 2, title, weight="bold", va="center")
    axes.text(left - 1, 4.6, lines[0], va="center", color=drawing.GREY)
    axes.text(centre, 7.6, "x", ha="center", va="center", weight="bold")
    drawing.arrow(axes, (centre, 8.8), (centre, 11.5))
    drawing.box(axes, left, 11.5, 8, 3, "3x3", drawing.BLUE)
    drawing.arrow(axes, (centre, 14.5), (centre, 17))
    drawing.box(axes, left, 17, 8, 3, "3x3", drawing.BLUE)
    drawing.arrow(axes, (centre, 20), (centre, 23.2))
    axes.text(centre, 24.6, "+", ha="center", va="center", size=12, weight="bold")
    axes.plot((centre, around), (9.8, 9.8), color=drawing.GREY, linewidth=1.2)
    start = 9.8
    if middle is not None:
        drawing.arrow(axes, (around, start), (around, 13.2))
        drawing.box(axes, around - 4.2, 13.2, 8.4, 5, *middle)
        start = 18.2
    drawing.arrow(axes, (around, start), (around, 24.6), (centre + 1.2, 24.6))
    axes.text(left - 1, 27.6, lines[1], va="center")


def draw(figure: Figure, found: Numbers) -> None:
    """Left the three shortcuts, right what each option adds to ResNet-34."""
    figure.set_size_inches(drawing.WIDTH, 4.9)
    axes = drawing.canvas(figure, 49)
    first = found.transitions[0]
    change = f"{first.in_channels} to {first.out_channels} channels"
    block(axes, 3, "identity", ("shapes agree", "no weights"), None)
    zeros = f"stride 2,\n+{first.out_channels - first.in_channels} zeros"
    block(axes, 27, "zero padding (A)", (change, "no weights"), (zeros, drawing.PALE))
    weights = f"{first.projection.weights:,} parameters"
    block(axes, 51, "projection (B, C)", (change, weights), ("1x1\nstride 2", drawing.ORANGE))
    plain = found.networks["A"]
    axes.text(2, 32, "added to ResNet-34 by its shortcuts", weight="bold", va="center")
    for column, (part, unit, scale) in enumerate(
        (("weights", "thousand parameters", 1e3), ("macs", "million multiply-adds", 1e6))
    ):
        bars = figure.add_axes((0.08 + 0.48 * column, 0.1, 0.38, 0.21))
        for y, option in enumerate("CBA"):
            added = (getattr(found.networks[option], part) - getattr(plain, part)) / scale
            drawing.stacked(bars, y, [(added, drawing.ORANGE)])
            bars.annotate(f"{added:,.0f}", (added, y), (4, 0), textcoords="offset points", va="center")
        bars.set(yticks=range(3), yticklabels="CBA", xlabel=unit)
        bars.set_xlim(0, 1.2 * bars.get_xlim()[1])
        bars.tick_params(axis="y", length=0)


def text(found: Numbers) -> str:
    """Return the costs of the options and of each projection."""
    plain = found.networks["A"]
    rows = [
        f"| {NAMES[option]} | {cost.weights:,} | {cost.weights - plain.weights:,} | {cost.macs:,} "
        f"| {cost.macs - plain.macs:,} | {ERRORS[option]} % |"
        for option, cost in found.networks.items()
    ]
    changes = [
        f"| {step.in_channels} to {step.out_channels} | {step.map_size}x{step.map_size} | {step.projection.weights:,} "
        f"| {step.projection.macs:,} |"
        for step in found.transitions
    ]
    return "\n".join(
        [
            "| ResNet-34 | parameters | added | multiply-adds | added | top-1 error (paper) |",
            "|---|---:|---:|---:|---:|---:|",
            *rows,
            "",
            f"Option B projects at {len(found.transitions)} of "
            f"{len(found.transitions) + found.num_identities} blocks (batch norm included):",
            "",
            "| channels | map | parameters | multiply-adds |",
            "|---|---:|---:|---:|",
            *changes,
        ]
    )
