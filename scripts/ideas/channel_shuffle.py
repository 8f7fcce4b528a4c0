"""Channel shuffle lets groups see each other (Zhang et al. 2017, arXiv:1707.01083, section 3.1, Figure 1)."""

from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from depthwise.models.shufflenet_v1 import CHANNELS as CHANNELS_OF
from depthwise.models.shufflenet_v1 import Unit
from ideas import drawing

GROUPS, CHANNELS = 3, 9
UNIT_CHANNELS = CHANNELS_OF[GROUPS][0]  # of the first stage
COLOURS = (drawing.BLUE, drawing.ORANGE, drawing.GREEN)


class Numbers(NamedTuple):
    """The new order, and who depends on whom."""

    order: list[int]  # order[i]: which channel stands at place i after the shuffle
    without: Tensor  # (out, in) True where an output depends on an input
    shuffled: Tensor
    unit_without: float  # the same as shares, for a unit of our ShuffleNet
    unit_shuffled: float


def shuffle_order(groups: int, channels: int) -> list[int]:
    """Return the channels' numbers after a shuffle by PyTorch's layer."""
    numbers = torch.arange(channels, dtype=torch.float32).view(1, channels, 1, 1)
    return [int(number) for number in nn.ChannelShuffle(groups)(numbers).flatten()]


def dependencies(model: nn.Module, channels: int, size: int = 1) -> Tensor:
    """Return (out, in): True where an output channel depends on an input channel, by gradients.

    All weights are made positive, so that no ReLU is silent and nothing cancels.
    """
    model.eval()
    for weight in model.parameters():
        weight.data = weight.data.abs() + 0.1
    images = torch.ones(1, channels, size, size, requires_grad=True)
    outputs = model(images).sum((0, 2, 3))
    rows = [torch.autograd.grad(out, images, retain_graph=True)[0].abs().sum((0, 2, 3)) for out in outputs]
    return torch.stack(rows) > 0


def two_convolutions(groups: int, channels: int, *, is_shuffled: bool) -> nn.Sequential:
    """Return two grouped 1x1 convolutions with a shuffle or nothing between them."""
    between = nn.ChannelShuffle(groups) if is_shuffled else nn.Identity()
    convs = (nn.Conv2d(channels, channels, 1, groups=groups) for _ in range(2))
    return nn.Sequential(next(convs), between, next(convs))


def unit_share(groups: int, channels: int, *, is_shuffled: bool) -> float:
    """Return the share of input channels that an output of our ShuffleNet unit sees, on average."""
    unit = Unit(channels, channels, stride=1, groups=groups, first_groups=groups, norm=nn.BatchNorm2d)
    if not is_shuffled:
        unit.shuffle = nn.ChannelShuffle(1)  # leaves the order as it is
    return float(dependencies(unit, channels, 3).float().mean())


def numbers() -> Numbers:
    """Return what page and figure show."""
    matrices = [dependencies(two_convolutions(GROUPS, CHANNELS, is_shuffled=way), CHANNELS) for way in (False, True)]
    shares = [unit_share(GROUPS, UNIT_CHANNELS, is_shuffled=way) for way in (False, True)]
    return Numbers(shuffle_order(GROUPS, CHANNELS), matrices[0], matrices[1], shares[0], shares[1])


def matrix(axes: Axes, left: float, top: float, depends: Tensor, colours: list[str]) -> None:
    """Draw a dependency matrix, a column per input channel in its group's colour."""
    size = 1.7
    for (row, column), is_seen in zip(
        torch.cartesian_prod(*map(torch.arange, depends.shape)).tolist(), depends.flatten().tolist(), strict=True
    ):
        face = colours[column] if is_seen else "#F2F2F2"
        corner = (left + column * size, top + row * size)
        axes.add_patch(Rectangle(corner, size, size, facecolor=face, edgecolor="white", linewidth=1))
    side = size * len(depends)
    axes.text(left + side / 2, top + side + 1.6, "input channel", ha="center", va="center")
    axes.text(left - 1.2, top + side / 2, "output channel", ha="center", va="center", rotation=90)


def draw(figure: Figure, found: Numbers) -> None:
    """Left the channels before and after the shuffle, right who sees whom."""
    figure.set_size_inches(drawing.WIDTH, 2.6)
    axes = drawing.canvas(figure, 26)
    colours = [COLOURS[channel * GROUPS // CHANNELS] for channel in range(CHANNELS)]
    axes.text(2, 2, "the shuffle", weight="bold", va="center")
    for place, channel in enumerate(found.order):
        start, end = 2 + 2.6 * channel + 1.3, 2 + 2.6 * place + 1.3
        axes.plot((start, end), (8.4, 18.4), color=colours[channel], linewidth=1.6)
    axes.text(2, 4.9, "before", va="center", color=drawing.GREY)
    drawing.cells(axes, 2, 5.8, [list(range(CHANNELS))], [colours], size=2.6, share=0.6)
    drawing.cells(axes, 2, 18.4, [found.order], [[colours[c] for c in found.order]], size=2.6, share=0.6)
    width = 2.6 * CHANNELS / GROUPS
    for group in range(GROUPS):
        drawing.frame(axes, 2 + width * group, 5.8, width, 2.6)
        drawing.frame(axes, 2 + width * group, 18.4, width, 2.6)
    axes.text(2, 22.6, "after: each group has some of every group", va="center", color=drawing.GREY)
    for left, depends, title in ((33, found.without, "without shuffle"), (54, found.shuffled, "with shuffle")):
        axes.text(left, 2, title, weight="bold", va="center")
        axes.text(left, 4.9, f"sees {depends.float().mean():.0%} of the inputs", va="center", color=drawing.GREY)
        matrix(axes, left, 7, depends, colours)


def text(found: Numbers) -> str:
    """Return the order, and the share of inputs seen."""
    small = " ".join(map(str, shuffle_order(2, 6)))
    return "\n".join(
        [
            f"- {GROUPS} groups of {CHANNELS // GROUPS}: 0 to {CHANNELS - 1} become {' '.join(map(str, found.order))}. "
            f"2 groups of 3: {small}.",
            f"- Two grouped convolutions: an output sees {found.without.float().mean():.0%} of the input channels, "
            f"with the shuffle between them {found.shuffled.float().mean():.0%}.",
            f"- A unit of our `shufflenet_v1` ({UNIT_CHANNELS} channels, {GROUPS} groups): {found.unit_without:.0%} "
            f"without the shuffle, {found.unit_shuffled:.0%} with it.",
        ]
    )
