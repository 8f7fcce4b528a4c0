"""How good a model is, as text, and how sure that is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from depthwise.console import shown
from depthwise.report.shares import count_text, interval_text, number_text, share_text
from depthwise.report.tables import table

if TYPE_CHECKING:
    from depthwise.metrics import Assessment
    from depthwise.workflows.evaluation import Evaluation, Proof
    from depthwise.workflows.test_reads import TestReads

WIDE = 0.02
"""Width of accuracy's interval from which on it is said what cannot be told apart."""


def evaluation_text(evaluation: Evaluation) -> str:
    """Return accuracy, calibration, recall and precision per class, with intervals, and what they are worth."""
    found = evaluation.assessment
    parts = [
        _headline(evaluation.split, found),
        _class_table(evaluation),
        _mistakes(evaluation),
        _views(evaluation),
        _decision(evaluation),
        _worth(evaluation),
    ]
    return "\n\n".join(part for part in parts if part)


def calibration_line(split: str, before: float, after: float) -> str:
    """Return what the temperature does to the calibration error, both from 0 to 1."""
    return f"Calibration error ({split}): {before:.1%} before the temperature, {after:.1%} with it"


def _headline(split: str, found: Assessment) -> str:
    scores, macro, groups = found.scores, found.averages.macro, ""
    if found.num_groups < scores.num_images:
        groups = f" in {found.num_groups:,} independent groups"
    rows = [
        ("top-1", f"{scores.top1:.2%}", interval_text(found.intervals["top1"])),
        ("top-5", f"{scores.top5:.2%}", interval_text(found.intervals["top5"])),
        (
            "balanced accuracy",
            f"{found.averages.balanced_accuracy:.2%}",
            interval_text(found.intervals["balanced_accuracy"]),
        ),
        ("macro F1", f"{macro[2]:.2%}", interval_text(found.intervals["macro_f1"])),
        ("weighted F1", f"{found.averages.weighted[2]:.2%}", ""),
        ("log loss", f"{found.nll:.4f}", number_text(found.intervals["nll"])),
        ("calibration error", f"{found.calibration_error:.1%}", f"by chance up to {found.error_by_chance:.1%}"),
    ]
    head = f"{split}: top-1 {scores.top1:.2%}, top-5 {scores.top5:.2%}, loss {scores.loss:.4f}"
    return f"{head} on {scores.num_images:,} pictures{groups}\n\n" + table(("", "here", "95 % interval"), rows)


def _class_table(evaluation: Evaluation) -> str:
    found = evaluation.assessment
    precision, recall, f1 = found.classes
    rows = [
        (
            shown(name),
            str(found.scores.confusion[i].sum()),
            share_text(recall[i]),
            interval_text(found.recall_intervals[i]),
            share_text(precision[i]),
            interval_text(found.precision_intervals[i]),
            share_text(f1[i]),
        )
        for i, name in enumerate(evaluation.classes)
    ]
    return table(("class", "pictures", "recall", "95 %", "precision", "95 %", "F1"), rows)


def _mistakes(evaluation: Evaluation) -> str:
    names, confusion = evaluation.classes, evaluation.scores.confusion
    wrong = confusion - np.diag(confusion.diagonal())
    worst = [divmod(int(i), len(names)) for i in np.argsort(-wrong, axis=None, kind="stable")[:3]]
    named = [f"{names[i]} taken for {names[j]} ({wrong[i, j]})" for i, j in worst if wrong[i, j]]
    return "Most frequent mistakes: " + shown(", ".join(named)) if named else ""


def _views(evaluation: Evaluation) -> str:
    if not evaluation.averaged:
        return ""
    rows = [
        (name, f"{found.scores.top1:.2%}", interval_text(found.intervals["top1"]), f"{found.nll:.4f}")
        for name, found in (("1", evaluation.assessment), (evaluation.views, evaluation.averaged))
    ]
    return table(("views", "top-1", "95 %", "log loss"), rows)


def _decision(evaluation: Evaluation) -> str:
    found = evaluation.outcome
    if not found:
        return ""
    lines = ["With the rule for decisions in the file:"]
    lines.append(f"  rejected as unknown: {count_text(found.unknown)}; as not sure enough: {count_text(found.unsure)}")
    lines.append(f"  right, of the answers that are left: {count_text(found.right)}")
    if found.misses and found.false_alarms and evaluation.positive:
        lines.append(f"  {shown(evaluation.positive)} missed: {count_text(found.misses)}")
        lines.append(f"  {shown(evaluation.positive)} by false alarm: {count_text(found.false_alarms)}")
    lines += [f"  precision of {shown(name)}: {count_text(count)}" for name, count in found.precisions.items()]
    return "\n".join(lines)


def _worth(evaluation: Evaluation) -> str:
    lines = [apart_text(evaluation.assessment)]
    lines += [proof_text(evaluation.proof, evaluation.scores.top1)] if evaluation.proof else []
    lines += [_reads(evaluation.reads)] if evaluation.reads else []
    return "\n".join(line for line in lines if line)


def apart_text(found: Assessment) -> str:
    """Return what so few photos cannot tell; '' where there are many."""
    interval = found.intervals["top1"]
    if interval is None or interval.width <= WIDE:
        return ""
    return (
        f"So few photos cannot tell models apart whose accuracies differ by less than about "
        f"{100 * interval.width:.0f} points; depthwise compare, which pairs the photos, needs fewer."
    )


def proof_text(proof: Proof, top1: float) -> str:
    """Return whether these photos prove the wanted error rate, and how many would."""
    wanted = f"an error of at most {100 * proof.target:.3g}%"
    if proof.is_proved:
        return f"These photos prove {wanted}."
    text = f"These photos do not prove {wanted}: that takes {proof.without_errors:,} independent ones without a mistake"
    if top1 == 1:
        return f"{text}."
    if proof.as_here is None:
        return f"{text}; with {1 - top1:.2%} wrong, as here, no number is enough."
    return f"{text}, or about {proof.as_here:,} with {1 - top1:.2%} wrong, as here."


def _reads(reads: TestReads) -> str:
    models = f", with {reads.num_models} models" if reads.num_models > 1 else ""
    times = "once" if reads.num_reads == 1 else f"{reads.num_reads:,} times"
    advice = "" if reads.num_reads == 1 else "; choosing by it makes it a validation set"
    return f"This run has read these test photos {times}{models}{advice}."
