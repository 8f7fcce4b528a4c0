"""The rule for answers in a model file, for a run's page: what it says, what it was set on, and what it does here."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from depthwise.console import shown
from depthwise.deploy.outcome import Count, Outcome
from depthwise.deploy.thresholds import MissRule, PrecisionRule
from depthwise.deploy.unknown import Unknown
from depthwise.metrics import Interval
from depthwise.report.numbers import Share
from depthwise.report.page import count, percent
from depthwise.report.shares import fine_text, told_apart
from depthwise.workflows.reporting import RunSummary


class Row(NamedTuple):
    """What the rule does to some of the photos."""

    what: str
    photos: str  # "3 of 220"
    share: Share


def rule_values(report: RunSummary) -> dict[str, Any] | None:
    """Return what the page says of the rule in the model file; None where there is none."""
    decision, found = report.measured.classifier.decision, report.measured.decide()
    if found is None:
        return None
    said = [_miss(decision.miss)] if decision.miss else []
    said += [_precision(decision.precision)] if decision.precision else []
    said += [_unknown(decision.unknown)] if decision.unknown else []
    return {
        "said": said,
        "rows": [Row(what, _of(one), _share(one)) for what, one in _counts(found, decision.miss)],
        "classes": [_class_row(rule, found) for rule in decision.precision],
        "has_misses": decision.miss is not None,
        "is_seen": report.kind == "validation",
    }


def _miss(rule: MissRule) -> str:
    text = (
        f"{shown(rule.label)} is the answer from {percent(rule.threshold)} on, even if another class is more probable. "
        f"Set on {count(rule.num_images)} validation photos of it, of which {count(rule.num_missed)} are missed, and "
        f"{count(rule.num_others)} others."
    )
    if rule.is_promised:
        bound, wanted = fine_text(rule.bound), fine_text(rule.max_miss_rate)
        return f"{text} So many promise that at most {bound} are missed (wanted: {wanted})."
    wanted, bound = told_apart(rule.max_miss_rate, rule.bound)
    return f"{text} So few cannot promise the wanted {wanted}: up to {bound} may be missed."


def _precision(rules: tuple[PrecisionRule, ...]) -> str:
    proved = sum(rule.is_promised for rule in rules)
    return (
        f"Answers below their class's threshold are rejected as not sure enough, for a precision of "
        f"{percent(rules[0].min_precision)}. Set on {count(sum(rule.num_answers for rule in rules))} answers to "
        f"validation photos, which prove it for {count(proved)} of {count(len(rules))} classes."
    )


def _unknown(rule: Unknown) -> str:
    return (
        f"Photos whose {rule.kind.replace('_', ' ')} score is below {rule.threshold:.4g} are rejected as unknown. Set "
        f"on {count(rule.num_images)} validation photos, all of known classes, of which {count(rule.num_rejected)} are "
        f"rejected (wanted: {percent(rule.reject_rate)}). Of the photos of a class left out of it, "
        f"{percent(rule.found_rate)} were rejected; expect less for what nobody ever showed the network."
    )


def _counts(found: Outcome, miss: MissRule | None) -> Iterator[tuple[str, Count]]:
    if miss and found.misses and found.false_alarms:
        yield f"{shown(miss.label)} missed", found.misses
        yield f"{shown(miss.label)} by false alarm", found.false_alarms
    yield "rejected as unknown", found.unknown
    yield "rejected as not sure enough", found.unsure
    yield "right, of the answers that are left", found.right


def _class_row(rule: PrecisionRule, found: Outcome) -> dict[str, Any]:
    here = found.precisions[rule.label]
    return {
        "label": rule.label,
        "threshold": "never" if rule.threshold > 1 else percent(rule.threshold),
        "sort": rule.threshold,
        "kept": f"{count(rule.num_kept)} of {count(rule.num_answers)}",
        "then": _shared(rule.num_right, rule.num_kept, rule.interval),
        "is_promised": rule.is_promised,
        "num_here": here.num,
        "here": _share(here),
    }


def _of(one: Count) -> str:
    return f"{count(one.hits)} of {count(one.num)}"


def _share(one: Count) -> Share:
    return _shared(one.hits, one.num, one.interval)


def _shared(hits: int, num: int, interval: Interval | None) -> Share:
    return Share(hits / num if num else float("nan"), interval)
