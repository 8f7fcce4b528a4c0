"""What was measured on this machine, as plain text."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from depthwise.report.tables import table

if TYPE_CHECKING:
    from depthwise.workflows.bench_kernels import KernelTimes
    from depthwise.workflows.benching import Benchmark, Row
    from depthwise.workflows.recommending import Choice, Recommendation

WIDTH = 118
LISTED = 8


def bench_text(found: Benchmark) -> str:
    """Return a line per setting, and what the numbers are of."""
    cores = f"{found.num_processors} core{'s' * (found.num_processors > 1)}"
    rows = [
        (
            row.engine,
            str(row.threads),
            str(row.batch),
            f"{row.timing.p50_ms:.2f}",
            f"{row.timing.p95_ms:.2f}",
            f"{row.images_per_s:,.1f}",
            "-" if row.peak_mib is None else f"{row.peak_mib:,.0f}",
            str(row.timing.num_calls),
        )
        for row in found.rows
    ]
    head = ("engine", "threads", "batch", "p50 ms", "p95 ms", "images/s", "memory MiB", "calls")
    lines = [
        f"{found.path}: {found.model}, {found.image_size} px, {found.engine} on {found.processor}, {cores}",
        "",
        table(head, rows),
        "",
        "From pixels of the network's size to logits; reading and resizing photos is not in it. Memory: the peak of a "
        "fresh process.",
    ]
    if found.left_out:
        named = ", ".join(f"{s.engine} {s.threads} x {s.batch}" for s in found.left_out)
        lines.append(f"Left out, as --seconds is too short for it (threads x batch): {named}")
    for engine, apart in found.differences.items():
        if not found.is_trusted(engine):
            lines.append(
                f"Never chosen automatically: {engine}, whose probabilities are up to {apart:.2g} from what they were "
                f"at export (allowed: {found.tolerance:g})"
            )
    fastest = found.fastest if found.is_kept else {}
    if row := fastest.get("many"):
        lines.append(
            f"For many pictures evaluate now takes {_who(row)}, {row.batch} picture{'s' * (row.batch > 1)} at a time"
        )
    if row := fastest.get("single"):
        lines.append(f"For pictures one by one depthwise.load(..., work='single') takes {_who(row)}")
    return "\n".join(lines)


def _who(row: Row) -> str:
    return f"{row.engine}, {row.threads} thread{'s' * (row.threads > 1)}"


def kernels_text(found: KernelTimes) -> str:
    """Return a line per place, and what the numbers are of."""
    rows = [
        (row.place, f"{row.torch_ms:.2f}", f"{row.fused_ms:.2f}", f"{row.torch_ms / row.fused_ms:.2f}", row.used)
        for row in found.rows
    ]
    lines = [
        f"{found.model}, {found.image_size} px, {found.num_images} pictures a step, {found.precision}, "
        f"{found.threads} thread{'s' * (found.threads > 1)} of {found.processor}",
        "",
        table(("place", "torch ms", "fused ms", "ratio", "used"), rows) if rows else "No place has fused kernels.",
        "",
        "Forward and backward of a block alone. Used: what --kernels auto takes, as measured when it was first asked.",
    ]
    return "\n".join(lines)


def recommendation_text(found: Recommendation) -> str:
    """Return the networks within the budget that no other beats, the most accurate first, and what is not known."""
    size = "" if found.budget.max_mb is None else f" and {found.budget.max_mb:g} MB"
    threads = f"{found.threads} thread{'s' * (found.threads > 1)}"
    lines = [f"Within {found.budget.max_ms:g} ms{size}: {found.engine}, {threads}, {found.processor}"]
    fitting = [choice for choice in found.choices if choice.is_in_budget]
    if fitting:
        head = ("network", "px", "top-1 %", "p50 ms", "p95 ms", "MB", "accuracy from")
        rows = [_cells(choice) for choice in fitting if choice.is_unbeaten]
        lines += ["", table(head, rows), ""]
    else:
        lines += ["", "No network keeps within this budget.", ""]
    if beaten := [choice.name for choice in fitting if not choice.is_unbeaten]:
        lines.append(f"Within it too, but another is faster and more accurate: {_listed(beaten)}.")
    if over := [f"{c.name} ({c.measured.p50_ms:.1f} ms)" for c in found.choices if not c.is_in_budget]:
        lines.append(f"Measured, but above it: {_listed(over)}.")
    lines += [f"Not measured, {reason}: {_listed(names)}." for reason, names in found.left_out.items()]
    if unsteady := [choice.name for choice in found.choices if choice.measured.is_unsteady]:
        lines.append(
            f"The machine was busy with something else while it measured {_listed(unsteady)}: p95 is far above p50. "
            "When it is idle, measure again with --refresh."
        )
    lines.append(
        "top-1 is ImageNet's, as published for pictures of the paper's size; it does not tell how the networks rank on "
        "your photos. Training counts, too: some of these weights saw more than ImageNet, others are as old as the "
        "paper. ms: one picture, without reading and resizing it. MB: the exported file with "
        f"{found.num_classes:,} classes."
    )
    return "\n".join(line if "\n" in line else textwrap.fill(line, WIDTH, break_on_hyphens=False) for line in lines)


def _listed(names: list[str]) -> str:
    """Return the names, or how many they are."""
    return ", ".join(names) if len(names) <= LISTED else f"{len(names)} networks (--json names them)"


def _cells(choice: Choice) -> tuple[str, ...]:
    measured = choice.measured
    return (
        choice.name,
        str(choice.image_size),
        f"{choice.published.top1:.1f}",
        f"{measured.p50_ms:.2f}",
        f"{measured.p95_ms:.2f}",
        f"{measured.num_bytes / 1e6:.1f}",
        choice.published.whose,
    )
