"""What was measured on this machine, as plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from depthwise.report.tables import table

if TYPE_CHECKING:
    from depthwise.workflows.benching import Benchmark


def bench_text(found: Benchmark) -> str:
    """Return a line per setting, and what the numbers are of."""
    cores = f"{found.num_processors} core{'s' * (found.num_processors > 1)}"
    rows = [
        (
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
    head = ("threads", "batch", "p50 ms", "p95 ms", "images/s", "memory MiB", "calls")
    lines = [
        f"{found.path}: {found.model}, {found.image_size} px, {found.engine} on {found.processor}, {cores}",
        "",
        table(head, rows, left=0),
        "",
        "From pixels of the network's size to logits; reading and resizing photos is not in it. Memory: the peak of a "
        "fresh process.",
    ]
    if found.left_out:
        named = ", ".join(f"{s.threads} x {s.batch}" for s in found.left_out)
        lines.append(f"Left out, as --seconds is too short for it (threads x batch): {named}")
    return "\n".join(lines)
