"""The reliability diagram: whether answers stated with 80 % are right in 80 % of the cases (Guo et al. 2017)."""

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from depthwise.metrics import Bin, proportion_interval
from depthwise.report.chart import GREY, LABEL, LINE, Scale, inline
from depthwise.report.svg import box, circle, line, text

WIDTH, HEIGHT = 352, 388
LEFT, RIGHT, TOP, BOTTOM = 52, 330, 28, 282
FOOT = 340
"""Below the diagram, how many photos each bin has."""
BLUE = "var(--blue)"


def reliability_chart(title: str, bins: Sequence[Bin]) -> Markup:
    """Return the diagram as SVG: a dot with its 95 % interval for each bin, on the diagonal when it is honest."""
    x, y = Scale(0, 1, LEFT, RIGHT), Scale(0, 1, BOTTOM, TOP)
    return inline(WIDTH, HEIGHT, title, [*_axes(x, y), *_dots(bins, x, y), *_counts(bins, x)])


def _axes(x: Scale, y: Scale) -> Iterator[str]:
    for share in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        yield line([(LEFT, y(share)), (RIGHT, y(share))], colour=LINE, width=1)
        yield text((LEFT - 6, y(share) + 4), f"{share:.0%}", size=LABEL, colour=GREY, anchor="end")
        yield text((x(share), FOOT + 18), f"{share:.0%}", size=LABEL, colour=GREY, anchor="middle")
    yield line([(x(0), y(0)), (x(1), y(1))], colour=GREY, dashes="4 4")
    middle = (LEFT + RIGHT) / 2
    yield text((middle, HEIGHT - 12), "probability of the answer, as stated", size=LABEL, colour=GREY, anchor="middle")
    yield text((LEFT - 44, 12), "share that is right", size=LABEL, colour=GREY)


def _dots(bins: Sequence[Bin], x: Scale, y: Scale) -> Iterator[str]:
    for one in bins:
        if not one.num_images:
            continue
        low, high = proportion_interval(round(one.right * one.num_images), one.num_images)
        place = x(one.stated)
        yield line([(place, y(low)), (place, y(high))], colour=BLUE, width=2)
        words = f"stated {one.stated:.1%}, right {one.right:.1%} of {one.num_images:,} photos"
        dot = circle((place, y(one.right)), 4.5, fill=BLUE, stroke="var(--paper)")
        yield dot.replace("/>", f"><title>{words}</title></circle>")


def _counts(bins: Sequence[Bin], x: Scale) -> Iterator[str]:
    most = max(one.num_images for one in bins)
    for one in bins:
        height = 42 * one.num_images / most
        if height:
            bar = box((x(one.low) + 1, FOOT - height), x(one.high) - x(one.low) - 2, height, fill=GREY, radius=1)
            yield bar.replace("/>", f"><title>{one.num_images:,} photos</title></rect>")
    yield line([(LEFT, FOOT), (RIGHT, FOOT)], colour=LINE, width=1)
    yield text((LEFT - 5, FOOT), "photos", size=LABEL, colour=GREY, anchor="end")
