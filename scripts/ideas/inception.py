"""The Inception module with and without 1x1 reductions (Szegedy et al. 2014, arXiv:1409.4842, Figure 2)."""

from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

from depthwise.models.googlenet import TABLE, Inception, Row
from depthwise.models.summary import summary_of
from ideas import drawing
from ideas.arithmetic import cost_of

Parts = dict[str, int]  # convolution -> multiply-adds
COLOURS = {
    "1x1": drawing.GREEN,
    "reduce": drawing.GREY,
    "3x3": drawing.BLUE,
    "5x5": drawing.ORANGE,
    "pool": drawing.PURPLE,
}


class Numbers(NamedTuple):
    """Module 3a."""

    row: Row
    in_channels: int
    map_size: int
    naive: Parts
    reduced: Parts
    naive_channels: int  # out
    reduced_channels: int


def find_input(name: str) -> tuple[int, int]:
    """Return input channels and side of the maps of an Inception module in our GoogLeNet at 224 px."""
    rows = summary_of("googlenet")
    index = next(i for i, row in enumerate(rows) if row.name.startswith(f"blocks.{name}."))
    channels, _, side = rows[index - 1].output_shape
    return channels, side


def naive_costs(row: Row, in_channels: int, map_size: int) -> Parts:
    """Return the multiply-adds of Figure 2a: every convolution reads the module's input, pooling passes it on."""
    sizes = {"1x1": (1, row.one), "3x3": (3, row.three), "5x5": (5, row.five)}
    return {
        name: cost_of(nn.Conv2d(in_channels, out, size, padding=size // 2), map_size, in_channels).macs
        for name, (size, out) in sizes.items()
    }


def reduced_costs(row: Row, in_channels: int, map_size: int) -> Parts:
    """Return the multiply-adds of Figure 2b, of our own block."""
    module = Inception(in_channels, row, 5, None)
    layers = {
        "1x1": module.one,
        "3x3 reduce": module.three[0],
        "3x3": module.three[1],
        "5x5 reduce": module.five[0],
        "5x5": module.five[1],
        "pool projection": module.pool,
    }
    inputs = {"3x3": row.three_reduce, "5x5": row.five_reduce}
    return {name: cost_of(layer, map_size, inputs.get(name, in_channels)).macs for name, layer in layers.items()}


def numbers() -> Numbers:
    """Return what page and figure show."""
    row = TABLE[0]
    in_channels, map_size = find_input(row.name)
    naive, reduced = naive_costs(row, in_channels, map_size), reduced_costs(row, in_channels, map_size)
    out_channels = row.one + row.three + row.five
    return Numbers(row, in_channels, map_size, naive, reduced, out_channels + in_channels, out_channels + row.pool)


def colour_of(name: str) -> str:
    """Return the colour of a convolution; all that reduce share one."""
    return COLOURS["reduce"] if "reduce" in name else COLOURS[name.split(maxsplit=1)[0]]


def module(axes: Axes, left: float, branches: list[list[tuple[str, str]]], source: str, target: str) -> None:
    """Draw a module: the input below, branches of (text, colour) upwards, the joined output above."""
    width, gap, bottom, top = 7.4, 1.0, 24.5, 4.0
    span = len(branches) * (width + gap) - gap
    drawing.box(axes, left, bottom, span, 2.6, source, drawing.PALE)
    drawing.box(axes, left, top, span, 2.6, target, drawing.PALE)
    for index, layers in enumerate(branches):
        x, start = left + index * (width + gap), bottom
        for (label, colour), y in zip(layers, (18.6, 11.2) if len(layers) == 2 else (14.9,), strict=True):
            drawing.arrow(axes, (x + width / 2, start), (x + width / 2, y + 4.4))
            drawing.box(axes, x, y, width, 4.4, label, colour)
            start = y
        drawing.arrow(axes, (x + width / 2, start), (x + width / 2, top + 2.6))


def draw(figure: Figure, found: Numbers) -> None:
    """Above both modules, below their multiply-adds."""
    figure.set_size_inches(drawing.WIDTH, 4.7)
    axes, row, size = drawing.canvas(figure, 47), found.row, found.map_size
    source = f"{found.in_channels} channels, {size}x{size}"
    one = [(f"1x1\n{row.one}", COLOURS["1x1"])]
    three, five = (f"3x3\n{row.three}", COLOURS["3x3"]), (f"5x5\n{row.five}", COLOURS["5x5"])
    first, second = (f"1x1\n{count}" for count in (row.three_reduce, row.five_reduce))
    pool = (f"pool\n{found.in_channels}", COLOURS["pool"])
    naive, reduced = found.naive_channels, found.reduced_channels
    axes.text(1, 2, "naive", weight="bold", va="center")
    module(axes, 1, [one, [three], [five], [pool]], source, f"{naive} channels")
    axes.text(38.4, 2, f"with reductions: Inception {row.name}", weight="bold", va="center")
    branches = [
        one,
        [(first, COLOURS["reduce"]), three],
        [(second, COLOURS["reduce"]), five],
        [pool, (f"1x1\n{row.pool}", COLOURS["pool"])],
    ]
    module(axes, 38.4, branches, source, f"{reduced} channels")

    bars = figure.add_axes((0.13, 0.115, 0.82, 0.245))
    for y, parts in ((1, found.naive), (0, found.reduced)):
        drawing.stacked(bars, y, [(macs / 1e6, colour_of(name)) for name, macs in parts.items()])
        start = 0.0
        for name, macs in parts.items():
            if macs > 0.045 * sum(found.naive.values()):
                dark = colour_of(name) == COLOURS["3x3"] or "reduce" in name
                label = "1x1" if "reduce" in name else name.split()[0]
                bars.text(
                    start + macs / 2e6, y, label, ha="center", va="center", color="white" if dark else drawing.INK
                )
            start += macs / 1e6
        bars.text(start + 3, y, f"{start:.0f} M", va="center", weight="bold")
        bars.text(-3, y, ("reduced", "naive")[y], va="center", ha="right")
    limit = 1.1 * sum(found.naive.values()) / 1e6
    bars.set(yticks=[], xlim=(0, limit), xticks=range(0, int(limit), 50), xlabel="million multiply-adds")
    bars.spines["left"].set_visible(False)


def text(found: Numbers) -> str:
    """Return the multiply-adds of each convolution, both ways."""
    rows = [
        f"| {name} | {found.naive[name]:,} | {macs:,} |" if name in found.naive else f"| {name} | - | {macs:,} |"
        for name, macs in found.reduced.items()
    ]
    naive, reduced = sum(found.naive.values()), sum(found.reduced.values())
    return "\n".join(
        [
            f"Inception {found.row.name}: {found.in_channels} channels of {found.map_size}x{found.map_size} in.",
            "",
            "| convolution | naive | reduced |",
            "|---|---:|---:|",
            *rows,
            f"| all multiply-adds | {naive:,} | {reduced:,} |",
            f"| output channels | {found.naive_channels} | {found.reduced_channels} |",
            "",
            f"The reductions leave {reduced / naive:.1%} of the multiply-adds.",
        ]
    )
