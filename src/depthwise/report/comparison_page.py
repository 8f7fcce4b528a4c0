"""Several runs as one HTML file: curves over each other, what they come to and cost, where their settings differ."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from depthwise import __version__, files
from depthwise.metrics import Paired, compare_pairs, pairs_needed
from depthwise.report.curves import overlaid
from depthwise.report.numbers import Share
from depthwise.report.page import render
from depthwise.workflows.reporting import RunSummary


def write_comparison_page(runs: Sequence[RunSummary], path: Path) -> None:
    """Write the page. Raises CannotWrite."""
    files.write_whole(path, comparison_page(runs))


def comparison_page(runs: Sequence[RunSummary]) -> bytes:
    """Return the page."""
    names = names_of(runs)
    return render(
        "comparison",
        is_sortable=True,
        version=__version__,
        split=runs[0].kind,
        is_fair=is_same_photos(runs),
        runs=[_row(name, run, runs[0]) for name, run in zip(names, runs, strict=True)],
        curves=overlaid([(name, run.history) for name, run in zip(names, runs, strict=True)]),
        names=names,
        differences=differences(runs),
    )


def names_of(runs: Sequence[RunSummary]) -> list[str]:
    """Return a name for each run, with its folder's parent where two have the same."""
    short = [run.name for run in runs]
    return [
        f"{run.model.resolve().parent.parent.name}/{name}" if short.count(name) > 1 else name
        for name, run in zip(short, runs, strict=True)
    ]


def is_same_photos(runs: Sequence[RunSummary]) -> bool:
    """Tell whether all runs were measured on the same photos with the same classes."""
    return len({(frozenset((r.hash, r.label) for r in run.measured.records), run.card.classes) for run in runs}) == 1


def paired(first: RunSummary, other: RunSummary) -> Paired | None:
    """Return by how much the other run is better, photo by photo; None where the photos differ."""
    if not is_same_photos([first, other]):
        return None
    records = list({record.hash: record for record in first.measured.records}.values())
    old, new = ([right[record.hash] for record in records] for right in map(_rights, (first, other)))
    groups = [record.group or record.hash for record in records]
    return compare_pairs(old, new, groups if len(set(groups)) < len(groups) else None)


def _rights(run: RunSummary) -> dict[str, bool]:
    """Return for each photo, by its content's hash, whether the run has it right."""
    found = run.measured
    is_right = (found.outputs.logits.argmax(axis=1) == found.labels).tolist()
    return {record.hash: right for record, right in zip(found.records, is_right, strict=True)}


def differences(runs: Sequence[RunSummary]) -> dict[str, list[str]]:
    """Return the settings that differ, each with its value in every run."""
    settings = [run.settings for run in runs]
    names = dict.fromkeys(name for one in settings for name in one)
    found = {name: [str(one.get(name, "-")) for one in settings] for name in names}
    return {name: values for name, values in found.items() if len(set(values)) > 1}


def _row(name: str, run: RunSummary, first: RunSummary) -> dict[str, Any]:
    scores, interval = run.assessment.scores, run.assessment.intervals
    found = None if run is first else paired(first, run)
    return {
        "name": name,
        "run": run,
        "top1": Share(scores.top1, interval["top1"]),
        "paired": found,
        "needed": pairs_needed(found) if found and not found.tells_apart else None,
    }
