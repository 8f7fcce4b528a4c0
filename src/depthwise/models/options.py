"""A family's options: read from NAME=VALUE, checked against the types of the network's constructor."""

import ast
import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

from depthwise.errors import UserError, suggest

SHARES = ("drop_rate", "drop_connect")
"""Options that may be 0, and are below 1; all other numbers are above 0."""

MOST = 100
"""Of widths and depths: files from anywhere must not have us build for ever."""
MOST_COUNT = 100_000


def check_option(model: str, allowed: Mapping[str, inspect.Parameter], name: str, value: Any) -> None:
    """Raise UserError when `model` has no option `name`, or `value` does not fit it."""
    if name not in allowed:
        listing = ", ".join(f"{p.name}={p.default!r}" for p in allowed.values())
        raise UserError(
            f"{model} has no option {name!r}{suggest(name, list(allowed))}\nIts options: {listing or 'none'}"
        )
    annotation = allowed[name].annotation
    is_right, wanted = _rule(name, annotation)
    if not is_right(value):
        raise UserError(f"{model}: {name}={value!r} is not {wanted}")


def _rule(name: str, annotation: Any) -> tuple[Callable[[Any], bool], str]:
    """Return the test that a value must pass, and its description."""
    if get_origin(annotation) is Literal:
        choices = get_args(annotation)
        return lambda value: value in choices, f"one of {', '.join(map(repr, choices))}"
    if annotation is bool:
        return lambda value: isinstance(value, bool), "of type bool: true or false"
    if name in SHARES:
        return lambda value: _is_number(value) and 0 <= value < 1, "a share from 0 to below 1"
    if annotation is float:
        return lambda value: _is_number(value) and 0 < value <= MOST, f"of type float, above zero and at most {MOST}"
    if annotation is int:
        return _is_count, f"of type int, above zero and at most {MOST_COUNT:,}"
    if annotation == Sequence[int]:
        return lambda value: _is_list(value) and all(map(_is_count, value)), "a list of whole numbers above zero"
    if annotation == Sequence[int | Sequence[int]] | None:
        form = "of the form [64, (128, 2), ...]: channels, or with stride"
        return lambda value: value is None or (_is_list(value) and all(map(_is_row, value))), form
    return lambda _: True, "of any type"  # of somebody's own factory, which will say itself what it takes


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 < value <= MOST_COUNT


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple) and 0 < len(value) <= MOST


def _is_row(value: Any) -> bool:
    return _is_count(value) or (_is_list(value) and len(value) == 2 and all(map(_is_count, value)))


def parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    """Return {name: value} from NAME=VALUE strings; a value is a Python literal, or a word. Raises UserError."""
    options: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise UserError(f"--set {setting!r}: expected NAME=VALUE, e.g. --set width=0.6")
        try:
            options[name] = ast.literal_eval({"true": "True", "false": "False"}.get(text, text))
        except (ValueError, SyntaxError):
            options[name] = text
    return options


def parse_numbers(flag: str, text: str | None, kind: type[int] | type[float]) -> list[float]:
    """Return the numbers of '0.25,0.5,1.0'; none for None. Raises UserError, naming the flag, for anything else."""
    try:
        numbers = [kind(part) for part in text.split(",")] if text is not None else []
    except ValueError:
        numbers = [0]
    if not all(number > 0 and math.isfinite(number) for number in numbers):
        what = "whole numbers" if kind is int else "numbers"
        raise UserError(f"{flag} {text}: expected {what} above zero with commas between, e.g. {_EXAMPLES[kind]}")
    return numbers


_EXAMPLES: dict[type[int] | type[float], str] = {int: "128,160,192,224", float: "0.25,0.5,0.75,1.0"}
