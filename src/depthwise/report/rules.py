"""The rule that `calibrate` set, as text, and what the validation photos promise of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from depthwise.console import shown
from depthwise.deploy.unknown_choice import GOOD
from depthwise.metrics import photos_needed
from depthwise.metrics.intervals import MOST_PHOTOS
from depthwise.report.shares import count_text, fine_text, interval_text, told_apart
from depthwise.report.tables import table

if TYPE_CHECKING:
    from depthwise.deploy.thresholds import MissRule, PrecisionRule
    from depthwise.deploy.unknown import Unknown
    from depthwise.workflows.calibrating import CalibrationResult


def calibration_text(result: CalibrationResult) -> str:
    """Return what was set, what it does on the validation photos, and what so few promise."""
    decision = result.decision
    lines = [_miss(decision.miss)] if decision.miss else []
    lines += [_precisions(decision.precision)] if decision.precision else []
    lines += [_unknown(decision.unknown)] if decision.unknown else []
    if result.refused:
        lines.append(_refused(result.refused))
    if decision.is_empty:
        lines.append("The answer is the most probable class, always.")
    else:
        found = result.outcome
        rejected = found.unknown.hits + found.unsure.hits
        lines.append(
            f"All together, on {found.unknown.num:,} validation photos: {rejected:,} rejected; right, of the rest: "
            f"{count_text(found.right)}. Seen by the rule already: only the test photos tell how it holds."
        )
    return "\n\n".join([*lines, f"Written: {result.path}"])


def _miss(rule: MissRule) -> str:
    text = (
        f"{shown(rule.label)} is the answer from {rule.threshold:.1%} on. On validation photos "
        f"{rule.num_missed} of {rule.num_images} are missed, and {rule.num_false_alarms} of {rule.num_others} others "
        "are false alarms."
    )
    if rule.is_promised:
        bound, wanted = fine_text(rule.bound), fine_text(rule.max_miss_rate)
        return f"{text}\nWith certainty 95 % at most {bound} are missed (wanted: {wanted})."
    wanted, bound = told_apart(rule.max_miss_rate, rule.bound)
    needed = photos_needed(rule.max_miss_rate, level=0.9)  # both tails of 0.9 are the one of 0.95
    enough = f"More than {MOST_PHOTOS:,}" if needed is None else f"{needed:,}"
    photos, of = f"{rule.num_images} photos", "of this class"
    if rule.num_groups is not None and rule.num_groups < rule.num_images:
        photos, of = f"{photos} in {rule.num_groups} groups", "independent ones of this class"
    return f"{text}\n{photos} cannot promise {wanted}: up to {bound} may be missed. {enough} {of} without a miss would."


def _precisions(rules: tuple[PrecisionRule, ...]) -> str:
    rows = [
        (
            shown(rule.label),
            "never" if rule.threshold > 1 else f"{rule.threshold:.1%}",
            f"{rule.num_kept} of {rule.num_answers}",
            str(rule.num_right),
            interval_text(rule.interval),
            "proved" if rule.is_promised else "",
        )
        for rule in rules
    ]
    return f"Answers are kept for a precision of {rules[0].min_precision:.1%}:\n" + table(
        ("class", "from", "kept", "right", "precision, 95 %", ""), rows
    )


def _unknown(unknown: Unknown) -> str:
    size = f", {unknown.reference.num_bytes / 1000:.0f} kB in the file" if unknown.reference else ""
    return (
        f"Unknown photos are told by {unknown.kind}{size}. {unknown.num_rejected} of {unknown.num_images} validation "
        f"photos, all of known classes, are rejected (wanted: {unknown.reject_rate:.1%}).\n{_aurocs(unknown)}\n"
        f"At this threshold {unknown.found_rate:.0%} of the photos of a class left out are rejected. Network features "
        "have seen that class: expect less for what nobody ever showed it."
    )


def _refused(unknown: Unknown) -> str:
    lead = f"No score tells unknown photos well enough (AUROC {GOOD}), so none are rejected as unknown."
    return f"{lead}\n{_aurocs(unknown)}"


def _aurocs(unknown: Unknown) -> str:
    listed = ", ".join(f"{name} {value:.2f}" for name, value in unknown.auroc.items())
    return f"AUROC, each class left out in turn: {listed}; for its worst class {unknown.worst_auroc:.2f}."
