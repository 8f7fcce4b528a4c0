"""The learning-rate sweep as text."""

from depthwise.workflows.finding_lr import Finding

MOST_ROWS = 16


def lr_text(found: Finding) -> str:
    """Return a table of the sweep and what follows from it."""
    every = -(-len(found.points) // MOST_ROWS)
    rows = [f"{'lr':>9}  {'loss':>8}  {'smoothed':>8}"]
    rows += [f"{point.lr:9.2e}  {point.loss:8.4f}  {point.smooth:8.4f}" for point in found.points[::every]]
    ending = "the loss had diverged, or was no number any more" if found.has_diverged else "the last step"
    last = f"Ended at {found.points[-1].lr:.2e}: {ending}." if found.points else "No step could be taken."
    return "\n".join([*rows, "", last, _advice(found)])


def _advice(found: Finding) -> str:
    if found.suggestion is None:
        return "The smoothed loss never fell: begin lower (--low), or give more --steps."
    return f"Suggested: --lr {found.suggestion:.2g}, where the smoothed loss fell most steeply before its lowest."
