"""An audit's findings as text for the terminal."""

from collections import defaultdict
from pathlib import Path

from depthwise.console import shown
from depthwise.data.findings import KINDS, Finding
from depthwise.workflows.auditing import Audit

MOST = 5
"""Findings of a kind that are named; the page and --json have all."""


def audit_text(audit: Audit) -> str:
    """Return what was found, worst first, a few examples of each kind."""
    sizes = ", ".join(f"{shown(name)} {number:,}" for name, number in audit.classes.items())
    lines = [f"{audit.num_images:,} pictures in {len(audit.classes)} classes: {sizes}"]
    kinds: dict[str, list[Finding]] = defaultdict(list)
    for finding in audit.findings:
        kinds[finding.kind].append(finding)
    for name, found in kinds.items():
        kind = KINDS[name]
        lines += ["", f"{kind.title} ({len(found):,}). {kind.advice}"]
        lines += [f"  {_line(finding, audit.source)}" for finding in found[:MOST]]
        if len(found) > MOST:
            lines.append(f"  and {len(found) - MOST:,} more")
    if audit.notes:
        lines += ["", *(f"note: {shown(note)}" for note in audit.notes)]
    lines += ["", "Clean: nothing needs to be done." if audit.is_clean else "Not clean: see above."]
    return "\n".join(lines)


def _line(finding: Finding, source: Path) -> str:
    near = [path.relative_to(source) if path.is_relative_to(source) else path for path in finding.paths]
    paths = " = ".join(map(shown, near))
    return f"{paths}: {finding.detail}" if paths else finding.detail
