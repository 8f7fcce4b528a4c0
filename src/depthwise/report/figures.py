"""A run's figures as PNG files, for papers and slides: white paper, drawn by matplotlib."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from depthwise import files
from depthwise.console import shown
from depthwise.errors import CannotWrite
from depthwise.report.confusion import MOST_IN_TABLE, row_shares, ticks
from depthwise.report.page import short_name
from depthwise.workflows.reporting import RunReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES = ("curves.png", "learning_rate.png", "confusion.png", "reliability.png")
"""The files; the first two where there is a history."""
BLUE, ORANGE, GREY = "#2a6cb5", "#b85c00", "#5a6672"
DPI = 150
FONTS = (
    "DejaVu Sans",  # comes with matplotlib
    "Noto Sans CJK JP",
    "Noto Sans",
    "Hiragino Sans",
    "Microsoft YaHei",
    "Malgun Gothic",
    "Arial Unicode MS",
)


def write_figures(report: RunReport, folder: Path) -> list[Path]:
    """Write the files of NAMES into the folder, made where there is none; return what was written.

    Raises CannotWrite.
    """
    from matplotlib import rc_context

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotWrite(f"cannot make the folder {folder}: {error.strerror}; choose another --figures") from error
    written = []
    with rc_context({"font.family": _fonts()}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a letter that no font here has is a box
        for name, figure in _figures(report):
            stream = BytesIO()
            figure.savefig(stream, dpi=DPI, metadata={"Software": None})
            files.write_whole(folder / name, stream.getvalue())
            written.append(folder / name)
    return written


def _fonts() -> list[str]:
    """Return the fonts to look for a letter in, one after the other: those of FONTS that are installed."""
    from matplotlib.font_manager import fontManager

    installed = set(fontManager.get_font_names())
    return [name for name in FONTS if name in installed]


def _figures(report: RunReport) -> Iterator[tuple[str, Figure]]:
    from matplotlib.figure import Figure  # not pyplot: no window, no state, no back end to choose

    if report.history.rows:
        figure = Figure(figsize=(9, 3.4), layout="constrained")
        _draw_curves(report, *figure.subplots(1, 2))
        yield "curves.png", figure
        figure = Figure(figsize=(4.8, 3.4), layout="constrained")
        _draw_learning_rate(report, figure.subplots())
        yield "learning_rate.png", figure
    side = min(9.0, 3.0 + 0.32 * len(report.card.classes))
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    _draw_confusion(report, figure.subplots())
    yield "confusion.png", figure
    figure = Figure(figsize=(4.2, 4.2), layout="constrained")
    _draw_reliability(report, figure.subplots())
    yield "reliability.png", figure


def _draw_curves(report: RunReport, losses: Axes, hits: Axes) -> None:
    rows = report.history.rows
    epochs = [row["epoch"] for row in rows]
    marker = "o" if len(rows) == 1 else ""
    losses.plot(epochs, [row["train_loss"] for row in rows], color=BLUE, marker=marker, label="training")
    losses.plot(epochs, [row["valid_loss"] for row in rows], color=ORANGE, marker=marker, label="validation")
    hits.plot(epochs, [100 * row["valid_top1"] for row in rows], color=ORANGE, marker=marker, label="validation")
    losses.set_ylabel("loss")
    hits.set_ylabel("accuracy, %")
    for axes in (losses, hits):
        _mark_epochs(axes)
        axes.legend(frameon=False)


def _draw_learning_rate(report: RunReport, axes: Axes) -> None:
    rows = report.history.rows
    marker = "o" if len(rows) == 1 else ""
    axes.plot([row["epoch"] for row in rows], [row["lr"] for row in rows], color=BLUE, marker=marker)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("learning rate")
    _mark_epochs(axes)


def _mark_epochs(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)


def _draw_confusion(report: RunReport, axes: Axes) -> None:
    confusion, names = report.assessment.scores.confusion, [shown(name) for name in report.card.classes]
    shares = row_shares(confusion)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xlabel("answer")
    axes.set_ylabel("class")
    if len(names) > MOST_IN_TABLE:
        axes.set_title(f"{len(names)} classes, shares of each row", fontsize=9)
        numbers = [tick.number for tick in ticks(len(names))]
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_ticks([number - 1 for number in numbers], [str(number) for number in numbers])
        return
    places = np.arange(len(names))
    labels = [_plain(short_name(name)) for name in names]
    axes.set_xticks(places, labels, rotation=60, ha="right", rotation_mode="anchor")
    axes.set_yticks(places, labels)
    for i, j in np.argwhere(confusion):
        colour = "white" if shares[i, j] > 0.5 else "black"
        axes.text(j, i, f"{confusion[i, j]:,}", ha="center", va="center", color=colour)


def _plain(name: str) -> str:
    """Return a name that matplotlib does not take for a formula."""
    return name.replace("$", r"\$")


def _draw_reliability(report: RunReport, axes: Axes) -> None:
    bins = [one for one in report.assessment.bins if one.num_images]
    axes.plot([0, 100], [0, 100], color=GREY, linestyle="--", linewidth=1)
    axes.scatter(
        [100 * one.stated for one in bins],
        [100 * one.right for one in bins],
        s=[20 + 180 * one.num_images / report.assessment.scores.num_images for one in bins],
        color=BLUE,
    )
    axes.set_xlabel("probability of the answer, as stated, %")
    axes.set_ylabel("share that is right, %")
    axes.set_title(f"calibration error {report.assessment.calibration_error:.1%}", fontsize=10)
    axes.grid(alpha=0.3)
