"""What `compare` found, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from depthwise.console import shown
from depthwise.metrics import Paired, pairs_needed
from depthwise.metrics.paired import POWER
from depthwise.report.tables import table

if TYPE_CHECKING:
    from depthwise.workflows.comparing import ModelComparison


def comparison_text(found: ModelComparison) -> str:
    """Return the paired difference, per class too, and the verdict."""
    paired = found.overall
    rows = [
        (shown(name), str(p.num_images), str(p.only_old), str(p.only_new), _points(p.difference), _span(p))
        for name, p in found.classes.items()
    ]
    lines = [
        f"{found.split}: top-1 {found.old_top1:.2%} before, {found.new_top1:.2%} now, on the same "
        f"{paired.num_images:,} pictures",
        f"Only the old one is right on {paired.only_old}, only the new one on {paired.only_new}: difference "
        f"{_points(paired.difference)} points, 95 % interval {_span(paired)}, {_p_value(paired)}",
        *_needed(paired),
        "",
        table(("class", "pictures", "only old", "only new", "points", "95 %"), rows),
        "",
    ]
    if found.num_left_out:
        lines.append(f"{found.num_left_out:,} pictures were left out: only one of the two can be judged on them.")
    return "\n".join([*lines, _verdict(found)])


def _needed(paired: Paired) -> list[str]:
    """Return what more photos would tell, where these do not tell which model is better."""
    if paired.tells_apart:
        return []
    needed = pairs_needed(paired)
    if needed is None:
        return ["Both are right equally often: at no difference, no number of photos tells them apart."]
    return [
        f"These photos do not tell which is better. About {needed:,} independent ones would, in {POWER:.0%} of such "
        "comparisons, if the models differ as much as here (Connor 1987)."
    ]


def _verdict(found: ModelComparison) -> str:
    if found.overall.interval.high < 0 and found.is_worse:
        return "Worse: the whole interval lies below 0."
    if found.margin and found.is_worse:
        return f"Not shown: it may lose more than {_margin(found.margin)}."
    if found.margin:
        return f"Not worse: shown to lose at most {_margin(found.margin)}."
    return "Not worse beyond chance: the interval does not lie below 0. (--margin 0.01 asks for proof.)"


def _margin(share: float) -> str:
    return f"{100 * share:g} point{'s' * (share != 0.01)}"


def _p_value(paired: Paired) -> str:
    caution = "" if paired.num_groups is None else " (which takes all photos for independent)"
    return f"McNemar's p = {paired.p_value:.2g}{caution}"


def _span(paired: Paired) -> str:
    return f"{_points(paired.interval.low)} to {_points(paired.interval.high)}"


def _points(difference: float) -> str:
    return f"{100 * difference:+.1f}"
