"""Lines over epochs: round axes, gaps, single points, and names that are only words."""

import math
import re
from itertools import pairwise

import pytest

from depthwise.metrics import Bin
from depthwise.report import reliability
from depthwise.report.chart import BOTTOM, HEIGHT, LABEL, LEFT, RIGHT, TOP, WIDTH, Series, line_chart, round_steps
from depthwise.report.reliability import reliability_chart
from depthwise.report.svg import text_width


@pytest.mark.parametrize(
    ("low", "high", "steps"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.55, 2.3, [0.5, 1, 1.5, 2, 2.5]),
        (0, 0.1, [0, 0.02, 0.04, 0.06, 0.08, 0.1]),
        (-3, 12, [-5, 0, 5, 10, 15]),
        (1, 1, [0.94, 0.96, 0.98, 1.0, 1.02, 1.04, 1.06]),
        (0, 1e-12, [k * 2e-13 for k in range(6)]),
    ],
)
def test_axes_have_round_steps_around_the_values(low, high, steps):
    assert round_steps(low, high) == pytest.approx(steps, abs=1e-18)


def places(chart):
    """The points of each line thicker than the grid."""
    paths = re.findall(r'<path d="([^"]*)" fill="none" stroke="[^"]*" stroke-width="2"', chart)
    return [[tuple(map(float, p.split())) for p in re.findall(r"[ML]([\d.]+ [\d.]+)", path)] for path in paths]


def test_a_line_goes_through_its_values():
    (line,) = places(line_chart("x", [Series("loss", [(1, 0.0), (2, 0.5), (3, 1.0)])]))
    assert line[0] == (LEFT + 8, BOTTOM) and line[-1] == (RIGHT - 8, TOP)
    assert line[1][1] == pytest.approx((TOP + BOTTOM) / 2, abs=0.1)


def test_nan_is_a_gap_and_a_point_alone_is_a_dot():
    chart = line_chart("x", [Series("loss", [(1, 1.0), (2, math.nan), (3, 2.0), (4, 3.0)])])
    assert len(places(chart)) == 1 and len(places(chart)[0]) == 2
    assert chart.count('r="4"') == 1 and "nan" not in chart


def test_a_single_epoch_and_no_value_at_all():
    chart = line_chart("x", [Series("loss", [(1, 0.3)])])
    assert 'r="4"' in chart and "nan" not in chart and "inf" not in chart
    assert line_chart("x", [Series("loss", [(1, math.nan)])]) == "" == line_chart("x", [])


def test_shares_have_no_axis_above_all():
    chart = line_chart("x", [Series("top-1", [(1, 1.0), (2, 1.0)])], shown="{:.0%}".format, limits=(0, 1))
    assert "100%" in chart and "102%" not in chart


def test_names_are_escaped():
    chart = line_chart("<b>", [Series("<script>", [(1, 1.0), (2, 2.0)]), Series("&", [(1, 1.0)])])
    assert "<script" not in chart and "<b>" not in chart and "&lt;script&gt;" in chart


RUNS = [f"mobilenet_v3_{name}" for name in ("small-a", "small-b", "large")]


@pytest.mark.parametrize(
    ("names", "num_rows"), [(["training", "validation"], 1), (RUNS, 2), (["first", "monday/" + "w" * 99 + "/run"], 2)]
)
def test_the_names_of_lines_end_inside_the_picture_in_as_many_rows_as_they_need(names, num_rows):
    chart = line_chart("x", [Series(name, [(1, 1.0), (2, 2.0)]) for name in names])
    labels = re.findall(r'<text x="([\d.]+)" y="([\d.]+)" [^>]* text-anchor="start">([^<]*)<', chart)
    assert len(labels) == len(names) and all(float(x) + text_width(label, LABEL) <= WIDTH for x, _, label in labels)
    rows = sorted({float(y) for _, y, _ in labels})
    assert len(rows) == num_rows and all(low - high >= LABEL for high, low in pairwise(rows))
    width, height = map(int, re.findall(r'viewBox="0 0 (\d+) (\d+)"', chart)[0])
    down = int(re.findall(r"translate\(0 (\d+)\)", chart)[0])
    assert (width, height) == (WIDTH, HEIGHT + down) and rows[-1] < TOP + down


def test_epochs_are_named_without_crowding():
    chart = line_chart("x", [Series("loss", [(e, 1.0 / e) for e in range(1, 301)])])
    labels = re.findall(r'text-anchor="middle">([\d,]+)<', chart)
    assert labels == ["1", "50", "100", "150", "200", "250", "300"]
    assert chart.count("<title>") <= 120


def test_a_dot_on_the_diagonal_is_an_honest_bin():
    bins = [Bin(0, 0.5, 0, math.nan, math.nan), Bin(0.5, 1, 10, 0.7, 0.7)]
    chart = reliability_chart("x", bins)
    ((x, y),) = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', chart)
    start, end = reliability.LEFT, reliability.RIGHT
    low, high = reliability.BOTTOM, reliability.TOP
    assert (float(x) - start) / (end - start) == pytest.approx((low - float(y)) / (low - high), abs=0.01)
    assert "stated 70.0%, right 70.0% of 10 photos" in chart and "nan" not in chart
