"""Two 3x3 convolutions in place of one 5x5 (Simonyan and Zisserman 2014, arXiv:1409.1556, section 2.3)."""

from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

from ideas import drawing
from ideas.arithmetic import cost_of

STACKS = ((5,), (3, 3), (7,), (3, 3, 3))
CHANNELS = 64


class Numbers(NamedTuple):
    """For each of STACKS."""

    reach: dict[tuple[int, ...], int]  # side of the square that one output sees
    weights: dict[tuple[int, ...], int]  # for CHANNELS in and out of each convolution
    paths: tuple[tuple[int, ...], ...]  # of two 3x3: ways from each input to the output


def stack(kernels: tuple[int, ...], channels: int) -> nn.Sequential:
    """Return convolutions one behind the other, without padding and bias."""
    return nn.Sequential(*(nn.Conv2d(channels, channels, size, bias=False) for size in kernels))


def count_paths(kernels: tuple[int, ...], size: int) -> torch.Tensor:
    """Return in how many ways each of size x size inputs reaches the first output: its gradient with all weights 1."""
    model = stack(kernels, 1)
    for weight in model.parameters():
        nn.init.ones_(weight)
    picture = torch.zeros(1, 1, size, size, requires_grad=True)
    (paths,) = torch.autograd.grad(model(picture)[0, 0, 0, 0], picture)
    return paths[0, 0]


def reach(kernels: tuple[int, ...]) -> int:
    """Return the side of the square of inputs that one output depends on."""
    return int((count_paths(kernels, 11).sum(0) > 0).sum())


def numbers() -> Numbers:
    """Return what page and figure show."""
    paths = count_paths((3, 3), 5).int().tolist()
    return Numbers(
        {kernels: reach(kernels) for kernels in STACKS},
        {kernels: cost_of(stack(kernels, CHANNELS), 11, CHANNELS).weights for kernels in STACKS},
        tuple(tuple(row) for row in paths),
    )


def cone(axes: Axes, left: float, kernels: tuple[int, ...], colour: str) -> None:
    """Draw layers from the side: which cells each cell sees, from one output down to the inputs."""
    size, gap, count, top, centre = 2.6, 6.6, 1, 5.0, left + 3.25 * 2.6
    for step, kernel in enumerate((*reversed(kernels), 0)):
        start = centre - count * size / 2
        share = 0.9 if step == 0 else 0.35
        drawing.cells(axes, start, top, [[""] * count], colour, size=size, share=share)
        if kernel:
            wider = count + kernel - 1
            for index in range(count):
                x = start + (index + 0.5) * size
                for edge in (index, index + kernel):
                    foot = centre - wider * size / 2 + edge * size
                    axes.plot((x, foot), (top + size, top + gap), color=colour, linewidth=0.9)
            label = f"{kernel}x{kernel}"
            axes.text(centre - wider * size / 2 - 0.6, top + (size + gap) / 2, label, ha="right", va="center")
            top, count = top + gap, wider
    axes.text(centre, top + 4.1, f"sees {count}x{count}", ha="center", va="center")


def draw(figure: Figure, found: Numbers) -> None:
    """Left what one output sees, from the side; right the weights."""
    figure.set_size_inches(drawing.WIDTH, 2.5)
    axes = drawing.canvas(figure, 25)
    axes.text(4.5, 2, "one 5x5", weight="bold", va="center")
    axes.text(23.5, 2, "two 3x3", weight="bold", va="center")
    cone(axes, 3.5, (5,), drawing.ORANGE)
    cone(axes, 22, (3, 3), drawing.BLUE)
    bars = figure.add_axes((0.67, 0.08, 0.31, 0.76))
    for place, kernels in enumerate(STACKS):
        y = (3, 2, 0.7, -0.3)[place]
        weights = found.weights[kernels] // CHANNELS**2
        colour = drawing.ORANGE if len(kernels) == 1 else drawing.BLUE
        drawing.stacked(bars, y, [(weights, colour)])
        bars.text(weights + 0.8, y, f"{weights} C²", va="center")
        name = f"{kernels[0]}x{kernels[0]}"
        bars.text(-1, y, f"{len(kernels)} x ({name})" if len(kernels) > 1 else name, va="center", ha="right")
    bars.set(xlim=(0, 58), ylim=(-0.8, 3.5), yticks=[], xticks=[])
    bars.spines[["left", "bottom"]].set_visible(False)
    figure.text(0.585, 1 - 2 / 25, "weights, C channels in and out", weight="bold", va="center")


def text(found: Numbers) -> str:
    """Return reach and weights of each stack."""
    rows = []
    for kernels in STACKS:
        name = " + ".join(f"{size}x{size}" for size in kernels)
        of_c = found.weights[kernels] // CHANNELS**2
        seen = found.reach[kernels]
        rows.append(f"| {name} | {seen}x{seen} | {of_c} C² | {found.weights[kernels]:,} |")
    two, five = found.weights[3, 3], found.weights[5,]
    three, seven = found.weights[3, 3, 3], found.weights[7,]
    return "\n".join(
        [
            f"| convolutions | one output sees | weights | with C = {CHANNELS} |",
            "|---|---:|---:|---:|",
            *rows,
            "",
            f"Two 3x3 have {two / five:.0%} of the weights of one 5x5, three have {three / seven:.0%} of those of one "
            "7x7. The ways from each input to the output of two 3x3:",
            "",
            "```text",
            *(" ".join(map(str, row)) for row in found.paths),
            "```",
        ]
    )
