"""What a run's numbers mean, in plain words, and what the reader should know before believing them."""

from typing import NamedTuple

from depthwise.console import shown
from depthwise.metrics import Assessment, Interval
from depthwise.report.judgement import apart_text, proof_text
from depthwise.report.page import count, percent
from depthwise.workflows.evaluation import proof_of
from depthwise.workflows.reporting import RunReport

FEW = 100
"""Photos below which an accuracy says little."""
TARGET = 0.01
"""The error rate of which the page tells how many photos would prove it."""


CAUTION = {
    "validation": "These photos also chose the best epoch, so the number flatters a little. The test photos are not "
    "among them.",
    "test": "Training has not seen these photos.",
    "new": "The run has not seen these photos.",
    "given": "What the model was trained on is not known here: if these photos are among it, the number flatters.",
}
"""What to know of photos of each kind."""


class Headline(NamedTuple):
    """The accuracy and what it means."""

    value: float
    interval: Interval
    told: str  # what was counted
    means: str  # what it means for new photos
    caution: str  # why it may flatter


def headline(report: RunReport) -> Headline:
    """Return the accuracy of a run in words."""
    scores, interval = report.assessment.scores, report.assessment.intervals["top1"]
    assert interval is not None  # a share has one
    hits, num = round(scores.top1 * scores.num_images), scores.num_images
    told = f"{count(hits)} of {count(num)} {report.kind} photos are answered rightly."
    means = (
        f"Of 100 new photos like these, expect about {100 * scores.top1:.0f} right answers. {count(num)} photos pin "
        f"that down to between {100 * interval.low:.0f} and {100 * interval.high:.0f} (95% interval)."
    )
    return Headline(scores.top1, interval, told, means, f"{CAUTION[report.kind]}{_reads(report)}")


def _reads(report: RunReport) -> str:
    if report.reads is None:
        return ""
    times = "once" if report.reads.num_reads == 1 else f"{count(report.reads.num_reads)} times"
    models = f", with {report.reads.num_models} models" if report.reads.num_models > 1 else ""
    return f" They were looked at {times} so far{models}; whoever chooses by them turns them into validation photos."


def worth(report: RunReport) -> list[str]:
    """Return what so many photos can tell and what they cannot, in the words of the page."""
    found = report.assessment
    proof = proof_text(proof_of(TARGET, found), found.scores.top1)
    return [words for words in (_independent(found), apart_text(found), proof) if words]


def _independent(found: Assessment) -> str:
    if found.num_groups == found.scores.num_images:
        return ""
    return f"These {count(found.scores.num_images)} photos come in {count(found.num_groups)} independent groups."


def notices(report: RunReport) -> list[str]:
    """Return what to know before believing the numbers."""
    found = [_course(report), _missing(report), _baseline(report), _few(report)]
    return [words for words in found if words]


def _course(report: RunReport) -> str:
    done, asked = len(report.history.rows), report.history.num_epochs
    patience, best = report.settings.get("patience"), done if report.best_epoch is None else report.best_epoch
    if not done or done >= asked or (patience and done - best >= patience):
        return ""
    return (
        f"This run is not finished: {done} of {asked} epochs are done. It may be going on, or it was stopped; the same "
        "command with --resume goes on with it. What follows is its best model so far."
    )


def _missing(report: RunReport) -> str:
    photos = report.assessment.scores.confusion.sum(axis=1)
    lost = [shown(name) for name, num in zip(report.card.classes, photos, strict=True) if not num]
    if not lost:
        return ""
    more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
    return f"There are no photos here of {', '.join(lost[:5])}{more}: nothing is known of how well they are told."


def _baseline(report: RunReport) -> str:
    photos, interval = report.assessment.scores.confusion.sum(axis=1), report.assessment.intervals["top1"]
    largest = int(photos.argmax())
    share = photos[largest] / photos.sum()
    if interval is None or interval.low > share:
        return ""
    return (
        f"Always answering {shown(report.card.classes[largest])} would be right in {percent(share)}: it is not shown "
        "that this model does better."
    )


def _few(report: RunReport) -> str:
    num = report.assessment.scores.num_images
    return f"Only {num} photos: the intervals are wide, and any of these numbers may be luck." if num < FEW else ""
