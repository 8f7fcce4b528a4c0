"""An audit as one HTML file: thumbnails side by side, nothing fetched from anywhere, every name escaped."""

from collections import defaultdict
from pathlib import Path
from typing import Any

from depthwise import files
from depthwise.data.findings import KINDS, Finding
from depthwise.report.page import render
from depthwise.report.thumbnails import thumbnail
from depthwise.workflows.auditing import Audit

MOST = 100
"""Findings of a kind that are shown; the rest is counted. Keeps the page under about 20 MB."""


def write_audit_page(audit: Audit, path: Path) -> None:
    """Write the page. Raises UserError when it cannot be written."""
    page = render(
        "audit",
        source=audit.source,
        num_images=audit.num_images,
        classes=audit.classes,
        largest=max(audit.classes.values(), default=1),
        kinds=_by_kind(audit),
        notes=audit.notes,
        is_clean=audit.is_clean,
    )
    files.write_whole(path, page)


def _by_kind(audit: Audit) -> list[dict[str, Any]]:
    kinds: dict[str, list[Finding]] = defaultdict(list)
    for finding in audit.findings:
        kinds[finding.kind].append(finding)
    return [
        {
            "id": name,
            "title": KINDS[name].title,
            "advice": KINDS[name].advice,
            "is_notice": KINDS[name].is_notice,
            "number": len(found),
            "num_hidden": max(0, len(found) - MOST),
            "findings": [_row(finding, audit.source) for finding in found[:MOST]],
        }
        for name, found in kinds.items()
    ]


def _row(finding: Finding, source: Path) -> dict[str, Any]:
    labels = finding.labels if len(finding.labels) == len(finding.paths) else ("",) * len(finding.paths)
    pictures = [
        {"name": _relative(path, source), "label": label, "image": thumbnail(path)}
        for path, label in zip(finding.paths, labels, strict=True)
    ]
    return {"detail": finding.detail, "pictures": pictures}


def _relative(path: Path, source: Path) -> Path:
    return path.relative_to(source) if path.is_relative_to(source) else path
