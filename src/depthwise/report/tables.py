"""Results as plain text tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from depthwise.console import shown

if TYPE_CHECKING:  # some of these import torch, which `split` does without
    from depthwise.models.costs import Cost
    from depthwise.models.summary import LayerRow
    from depthwise.workflows.exporting import ExportResult
    from depthwise.workflows.reporting import RunSummary
    from depthwise.workflows.splitting import SplitResult


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Return aligned lines: the first `left` columns flush left, the others flush right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = []
    for row in (head, *rows):
        cells = [
            cell.ljust(w) if i < left else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def split_table(result: SplitResult) -> str:
    """Return counts per class and split."""
    rows = [
        (shown(name), *(str(counts[s]) for s in ("train", "valid", "test"))) for name, counts in result.counts.items()
    ]
    sums = [str(sum(counts[s] for counts in result.counts.values())) for s in ("train", "valid", "test")]
    return table(("class", "train", "valid", "test"), [*rows, ("all", *sums)])


def comparison_table(runs: Sequence[RunSummary]) -> str:
    """Return a line per run: accuracy with its interval, and what it costs."""
    rows = []
    for run in runs:
        interval = run.assessment.intervals["top1"]
        assert interval is not None  # a share has one
        params, macs = ("-" if number is None else f"{number:,}" for number in run.cost)
        accuracy = f"{run.assessment.scores.top1:.1%} ({interval.low:.1%} to {interval.high:.1%})"
        rows.append((shown(run.name), run.card.model, accuracy, params, macs, f"{run.history.seconds:,.0f} s"))
    return table(("run", "model", "accuracy", "parameters", "multiply-adds", "epochs took"), rows, left=2)


def summary_table(rows: Sequence[LayerRow]) -> str:
    """Return a network's layers and their sums."""
    body = [(r.name, r.type, " x ".join(map(str, r.output_shape)), f"{r.params:,}", f"{r.macs:,}") for r in rows]
    total = ("all", "", "", f"{sum(r.params for r in rows):,}", f"{sum(r.macs for r in rows):,}")
    return table(("layer", "type", "output", "parameters", "multiply-adds"), [*body, total], left=2)


def export_text(result: ExportResult) -> str:
    """Return what was exported and how it compares."""
    found = result.comparison
    what = "photos" if result.is_on_photos else "pictures of noise"
    lines = [
        f"{result.path}: {result.num_bytes / 2**20:.1f} MiB",
        f"Compared with the model in PyTorch on {found.num_images:,} {what}: {found.top1_agreement:.2%} same answers, "
        f"probabilities differ by {found.max_probability_difference:.1e} at most"
        + f" (allowed: {found.tolerance:g})"
        * (result.int8 is None),
    ]
    if found.accuracy_before is not None and found.accuracy_after is not None:
        lines.append(f"Right: {found.accuracy_before:.2%} before, {found.accuracy_after:.2%} after")
    if result.int8:
        lines += _int8_lines(result.int8)
    if inside := result.num_photos_inside:
        lines.append(f"{inside} of these photos travel in the file, for depthwise verify (--golden noise: none does)")
    return "\n".join([*lines, f"Evidence: {result.evidence}"])


RULE = {
    "misses": "missed",
    "false_alarms": "by false alarm",
    "unknown": "rejected as unknown",
    "unsure": "rejected as not sure enough",
    "right": "right of those left",
}


def _rule_lines(found: dict[str, Any] | None) -> list[str]:
    """Return what a rule that was set in float does in float and in INT8."""
    if not found:
        return []
    before, after = found["float"], found["int8"]
    pairs = [(words, before[name], after[name]) for name, words in RULE.items() if before[name]]
    pairs += [
        (f"right of the answers {shown(k)}", one, after["precisions"][k]) for k, one in before["precisions"].items()
    ]
    return [
        "The stored rule for decisions was set in float; on these photos, in float and in INT8:",
        *(f"  {words}: {a['hits']:,} of {a['num']:,}, {b['hits']:,} of {b['num']:,}" for words, a, b in pairs),
    ]


def _int8_lines(found: dict[str, Any]) -> list[str]:
    """Return what INT8 costs and gains."""
    back = found["float_layers"]
    return [
        *_rule_lines(found.get("rule")),
        f"INT8 loses {found['loss']:.2%} (allowed: {found['max_loss']:.2%}), calibrated on {found['num_calibration']} "
        f"training photos; {len(back)} of {found['num_layers']} layers stay in float",
        f"{found['size_ratio']:.1f}x smaller than in float, {found['speedup']:.2f}x as fast here "
        f"({found['p50_ms']:.2f} ms for one picture, {found['p50_ms_float']:.2f} in float)",
    ]


def cost_table(grid: Sequence[Cost]) -> str:
    """Return millions of multiply-adds, a line for each width and a column for each size, and the parameters."""
    widths, sizes = (
        list(dict.fromkeys(values)) for values in zip(*((c.width, c.image_size) for c in grid), strict=True)
    )
    macs = {(cost.width, cost.image_size): f"{cost.macs / 1e6:,.1f}" for cost in grid}
    params = {cost.width: f"{cost.params:,}" for cost in grid}
    rows = [(f"{width:g}", *(macs[width, size] for size in sizes), params[width]) for width in widths]
    return table(("width", *(f"{size} px" for size in sizes), "parameters"), rows)
