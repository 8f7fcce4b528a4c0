"""A run as one HTML file: how good it is and how sure that is, where it errs, how it came to be."""

from pathlib import Path
from typing import Any

from depthwise import __version__, files
from depthwise.metrics import Bin, reliability_bins, softmax
from depthwise.report import confusion
from depthwise.report.curves import curves
from depthwise.report.headline import headline, notices, worth
from depthwise.report.heat import overlay
from depthwise.report.numbers import Share, averages_rows, numbers
from depthwise.report.page import render
from depthwise.report.reliability import reliability_chart
from depthwise.report.stored_rule import rule_values
from depthwise.report.thumbnails import encoded, of_pixels, thumbnail
from depthwise.workflows.examples import Augmented, Example
from depthwise.workflows.reporting import RunReport, gather
from depthwise.workflows.run_folder import RunFolder

HEAT_SIDE = 168
TALL = 25
"""Rows from which on a table scrolls in a frame of its own."""


def write_report(run: str | Path, out: str | Path | None = None, *, test: bool = False, **options: Any) -> Path:
    """Evaluate a run, write its page and return where it is; by default in the run folder, as the command does.

    `options`: those of `workflows.reporting.summarise`. Raises UserError.
    """
    report = gather(run, test=test, **options)
    folder = RunFolder(report.model.parent)
    path = Path(out) if out else folder.test_report if test else folder.report
    write_run_page(report, path)
    return path


def write_run_page(report: RunReport, path: Path) -> None:
    """Write the page. Raises CannotWrite."""
    files.write_whole(path, run_page(report))


def run_page(report: RunReport) -> bytes:
    """Return the page."""
    return render(
        "run",
        is_sortable=True,
        version=__version__,
        report=report,
        card=report.card,
        split=report.kind,
        headline=headline(report),
        worth=worth(report),
        notices=notices(report),
        rule=rule_values(report),
        numbers=numbers(report.assessment, len(report.card.classes)),
        averages=averages_rows(report.assessment),
        curves=curves(report.history, len(report.card.classes), report.best_epoch or None),
        confusion=confusion.table_values(report.assessment.scores.confusion, report.card.classes),
        rows=_rows(report),
        reliability=_reliability(report),
        mistakes=[_photo(example) for example in report.mistakes],
        doubts=[_photo(example) for example in report.doubts],
        augmented=[_strip(item) for item in report.augmented],
        largest=max((sum(counts.values()) for counts in report.counts.values()), default=1),
        settings=report.settings,
        tall=TALL,
    )


def _rows(report: RunReport) -> list[dict[str, Any]]:
    """Return the per-class table."""
    found = report.assessment
    return [
        {
            "label": name,
            "num_images": int(found.scores.confusion[number].sum()),
            "recall": Share(float(found.classes.recall[number]), found.recall_intervals[number]),
            "precision": Share(float(found.classes.precision[number]), found.precision_intervals[number]),
            "f1": float(found.classes.f1[number]),
        }
        for number, name in enumerate(report.card.classes)
    ]


def _reliability(report: RunReport) -> dict[str, Any]:
    answers = report.measured
    before: list[Bin] = reliability_bins(softmax(answers.outputs.logits), answers.labels)
    return {
        "temperature": report.card.temperature,
        "before": reliability_chart("Reliability before the temperature", before),
        "after": reliability_chart("Reliability with the temperature", report.assessment.bins),
        "error_before": report.assessment.error_before,
        "error_after": report.assessment.calibration_error,
    }


def _photo(example: Example) -> dict[str, Any]:
    heat = encoded(overlay(example.heat, HEAT_SIDE)) if example.heat else ""
    return {"example": example, "image": thumbnail(example.path), "heat": heat}


def _strip(item: Augmented) -> dict[str, Any]:
    return {"label": item.label, "plain": of_pixels(item.plain), "shown": [of_pixels(image) for image in item.shown]}
