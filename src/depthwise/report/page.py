"""Pages for people: one HTML file each, nothing fetched from anywhere, every name escaped."""

import base64
import hashlib
import math
from functools import cache
from importlib.resources import files as resources
from typing import Any

import jinja2
from markupsafe import Markup

from depthwise.console import shown

MOST_LETTERS = 18
"""Of a class's name at the edge of a table."""


def render(template: str, *, is_sortable: bool = False, **values: Any) -> bytes:
    """Return the page that a template of this package makes of `values`. What is not Markup is escaped.

    `is_sortable`: with the script that sorts its tables; without it, the browser runs none.
    """
    return (
        _environment()
        .get_template(f"{template}.html.jinja")
        .render(values, is_sortable=is_sortable)
        .encode("utf-8", "backslashreplace")
    )


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_read),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    readers = (shown, percent, count, short, short_name, sortable, duration)
    environment.filters |= {reader.__name__: reader for reader in readers}
    script = _read("sort.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    environment.globals |= {
        "style": Markup(_read("page.css")),  # ours, so nothing in it needs escaping
        "script": Markup(script),
        "script_hash": Markup(f"'sha256-{digest}'"),  # the browser runs this script and no other
    }
    return environment


def _read(name: str) -> str:
    return (resources("depthwise.report") / "templates" / name).read_text(encoding="utf-8")


def percent(share: float) -> str:
    """Return a share in [0, 1] for people; a dash for nan."""
    return "-" if math.isnan(share) else f"{share:.1%}"


def count(number: int) -> str:
    """Return a count with its thousands set off."""
    return f"{number:,}"


def short(number: int) -> str:
    """Return a count to three figures: 4.21 M."""
    for size, unit in ((10**9, " G"), (10**6, " M"), (10**3, " k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return str(number)


def short_name(name: str) -> str:
    """Return a name for a narrow place, cut where it is too long."""
    return name if len(name) <= MOST_LETTERS else name[: MOST_LETTERS - 1] + "\u2026"


def sortable(share: float) -> str:
    """Return a share as the number that a column is sorted by; nan comes first."""
    return "-1" if math.isnan(share) else f"{share:.6f}"


def duration(seconds: float) -> str:
    """Return a time for people: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"
