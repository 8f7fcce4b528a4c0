"""What a trial on the user's photos found, as plain text."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from depthwise.report.measured import WIDTH
from depthwise.report.tables import table

if TYPE_CHECKING:
    from depthwise.workflows.recommending import Recommendation
    from depthwise.workflows.trials import Trial, Trials


def trials_text(trials: Trials, found: Recommendation) -> str:
    """Return the candidates, the best first, with the time that each takes, and what the trial does not know.

    `found`: the same candidates as `trials.as_tried` gives them.
    """
    lines = [f"Tried on {trials.num_train:,} training and {trials.num_valid:,} validation photos of yours", ""]
    choices = {choice.name: choice for choice in found.choices}
    head = ("network", "weights", "epochs", "px", "valid %", "95 % interval", "p50 ms", "MB", "unbeaten")
    rows = []
    for trial in trials.ranked:
        choice, (low, high) = choices[trial.name], trial.interval
        rows.append(
            (
                trial.name,
                trial.weights,
                str(trial.epochs),
                str(trial.image_size),
                f"{100 * trial.valid_top1:.1f}",
                f"{100 * low:.1f} to {100 * high:.1f}",
                f"{choice.measured.p50_ms:.2f}",
                f"{choice.measured.num_bytes / 1e6:.1f}",
                "*" if choice.is_unbeaten else "",
            )
        )
    lines += [table(head, rows, left=2), ""] if rows else ["No candidate finished a single epoch.", ""]
    if alike := _alike(trials.ranked):
        lines.append(
            f"So many photos cannot tell {', '.join(alike)} apart: their intervals overlap with the best one's."
        )
    lines += [f"{name}: {why}." for name, why in trials.cut_short.items()]
    if not trials.is_finished:
        lines.append(f"{trials.minutes:g} minutes were too short for all rungs: the same command with more goes on.")
    lines.append(
        "What it does not know: who would win after a whole training. Those who stopped earlier had fewer epochs, one "
        "seed speaks, and networks without packaged weights learnt from nothing on small photos (px), where ms is for "
        "the full size. The accuracy is of the best epoch on validation photos, so a little too high; test photos were "
        "not touched."
    )
    return "\n".join(line if "\n" in line else textwrap.fill(line, WIDTH, break_on_hyphens=False) for line in lines)


def _alike(ranked: tuple[Trial, ...]) -> list[str]:
    """Return the names of those that went as far as the best and whose intervals overlap with its; [] for it alone."""
    best = [trial for trial in ranked if trial.epochs == ranked[0].epochs]
    names = [trial.name for trial in best if trial.interval[1] >= best[0].interval[0]]
    return names if len(names) > 1 else []
