"""Squeeze-and-excite worked out on four 2x2 maps (Hu et al. 2017, arXiv:1709.01507, section 3)."""

from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from depthwise.models import blocks
from depthwise.models.summary import summary_of
from ideas import drawing
from ideas.arithmetic import Cost, spell_out

MAPS = (((5, 3), (4, 4)), ((1, 1), (0, 2)), ((2, 3), (1, 2)), ((3, 2), (3, 4)))
REDUCE = ((0.5, -1, 0, 0), (0, 1, -1, 1))  # W1, without biases
EXPAND = ((2, 0), (-2, 0), (0, -1), (-1, 1))  # W2


class Numbers(NamedTuple):
    """Every step, and what it costs in a real network."""

    maps: Tensor  # (4, 2, 2)
    squeezed: Tensor  # (4,)
    hidden: Tensor  # (2,)
    scores: Tensor  # (4,) before the sigmoid
    weights: Tensor  # (4,)
    scaled: Tensor  # (4, 2, 2)
    resnet: Cost
    senet: Cost


def make_block() -> blocks.SqueezeExcite:
    """Return our own block with the weights above."""
    block = blocks.SqueezeExcite(len(MAPS), len(REDUCE), nn.Sigmoid).double()
    for layer, weights in ((block.reduce, REDUCE), (block.expand, EXPAND)):
        layer.weight.data = torch.tensor(weights, dtype=torch.float64)[:, :, None, None]
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return block.requires_grad_(False)


def network_cost(name: str) -> Cost:
    """Return what a registered network costs."""
    rows = summary_of(name)
    return Cost(sum(row.params for row in rows), sum(row.macs for row in rows))


def numbers() -> Numbers:
    """Return what page and figure show; the steps are caught inside the block as it runs."""
    block, steps = make_block(), {}
    for name, layer in block.named_children():
        layer.register_forward_hook(lambda _, __, output, name=name: steps.update({name: output.flatten().clone()}))
    maps = torch.tensor(MAPS, dtype=torch.float64)
    scaled = block(maps[None])[0]
    squeezed = maps.mean((1, 2))
    costs = network_cost("resnet50"), network_cost("seresnet50")
    return Numbers(maps, squeezed, steps["act"], steps["expand"], steps["gate"], scaled, *costs)


def draw(figure: Figure, found: Numbers) -> None:
    """From left to right: maps, means, hidden layer, weights, scaled maps."""
    figure.set_size_inches(drawing.WIDTH, 3.7)
    axes = drawing.canvas(figure, 37)
    colours = (drawing.BLUE, drawing.ORANGE, drawing.GREEN, drawing.PURPLE)
    titles = (
        (4.4, "maps x"),
        (15.4, "squeeze:\nmean"),
        (28, "W₁, ReLU"),
        (43.5, "W₂, sigmoid:\nweights"),
        (64.2, "x · weight"),
    )
    for x, title in titles:
        axes.text(x, 2.8, title, ha="center", va="center", weight="bold")
    for index, colour in enumerate(colours):
        top = 7 + 7.2 * index
        middle = top + 2.6
        drawing.cells(axes, 1.8, top, found.maps[index], colour, size=2.6)
        drawing.arrow(axes, (7.6, middle), (13.4, middle))
        drawing.cells(axes, 13.8, middle - 1.6, [[found.squeezed[index]]], colour, size=3.2)
        strength = float(found.weights[index])
        drawing.cells(
            axes, 41, middle - 1.9, [[found.weights[index]]], colour, size=3.8, form="{:.2f}", share=0.75 * strength
        )
        drawing.arrow(axes, (45.4, middle), (60.4, middle))
        drawing.cells(axes, 61, top - 0.6, found.scaled[index], colour, size=3.2, form="{:.2f}", share=0.6 * strength)
        for place, hidden in enumerate((14.4, 28.8)):
            for weight, start, end in (
                (REDUCE[place][index], (17, middle), (26.2, hidden + 1.6)),
                (EXPAND[index][place], (29.8, hidden + 1.6), (40.8, middle)),
            ):
                if weight:
                    style = "-" if weight > 0 else (0, (3, 2))
                    colour_of_line = drawing.INK if weight > 0 else drawing.RED
                    axes.plot(
                        *zip(start, end, strict=True),
                        color=colour_of_line,
                        linewidth=0.8 * abs(weight) + 0.4,
                        linestyle=style,
                    )
    for place, hidden in enumerate((14.4, 28.8)):
        drawing.cells(axes, 26.4, hidden, [[found.hidden[place]]], drawing.GREY, size=3.2)
    axes.text(
        28, 35.6, "solid: weight above 0; dashed: below 0; width: size", ha="center", va="center", color=drawing.GREY
    )


def text(found: Numbers) -> str:
    """Return every step of each channel, and the cost in ResNet-50."""
    rows = [
        f"| {index + 1} | {found.squeezed[index]:g} | {found.scores[index]:g} | {found.weights[index]:.3f} |"
        for index in range(len(MAPS))
    ]
    sums = []
    for weights, value in zip(REDUCE, found.hidden.tolist(), strict=True):
        sums.append(spell_out(weights, found.squeezed.tolist(), value))
    more = Cost(found.senet.weights - found.resnet.weights, found.senet.macs - found.resnet.macs)
    return "\n".join(
        [
            f"Hidden layer (ReLU leaves both sums as they are): {'; '.join(sums)}.",
            "",
            "| channel | mean | W₂ times hidden | sigmoid |",
            "|---:|---:|---:|---:|",
            *rows,
            "",
            f"In ResNet-50 (reduction 16) it adds {more.weights:,} parameters "
            f"({more.weights / found.resnet.weights:.1%}) and {more.macs:,} multiply-adds "
            f"({more.macs / found.resnet.macs:.2%}).",
        ]
    )
