"""Pages for people: one HTML file each, nothing fetched from anywhere, every name escaped."""

import base64
import hashlib
from functools import cache
from importlib.resources import files as resources
from typing import Any

import jinja2
from markupsafe import Markup

from depthwise.console import shown


def render(template: str, **values: Any) -> bytes:
    """Return the page that a template of this package makes of `values`. What is not Markup is escaped."""
    return _environment().get_template(f"{template}.html.jinja").render(values).encode("utf-8", "backslashreplace")


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_read),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"shown": shown, "percent": percent, "count": count, "duration": duration}
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
    return "–" if share != share else f"{share:.1%}"


def count(number: int) -> str:
    """Return a count with its thousands set off."""
    return f"{number:,}"


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
