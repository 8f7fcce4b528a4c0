"""The generated part of docs/python.md: what `import depthwise as dw` offers, from the code's own docstrings."""

import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import depthwise as dw

WIDTH = 100
MODULES = re.compile(r"\b(?!dw\.)(?:\w+\.)+(?=[A-Z]\w*)")
"""Where a type is from; of PyTorch's it stays short."""


def plain(call: str) -> str:
    """Return a call with the bare names of its types."""
    return MODULES.sub(lambda found: "torch." if found[0].startswith("torch.") else "", call).replace(
        "torch.Module", "torch.nn.Module"
    )


def python_names() -> str:
    """Return each public name with its call and its docstring."""
    return "\n\n".join("\n\n".join(_entry(name)) for name in dw.__all__ if not name.startswith("_"))


def _entry(name: str) -> Iterator[str]:
    value = getattr(dw, name)
    yield f"## {name}"
    if name.endswith("Config"):  # its fields are the command line's flags, which --help tells
        names = ", ".join(f"`{field.name}`" for field in fields(value))
        command = name.removesuffix("Config").lower()
        text = f"By keyword, all with defaults: {names}. `depthwise {command} --help` says what each is."
        yield textwrap.fill(text, WIDTH)
    elif not isinstance(value, type):
        yield f"```python\n{_call(name, value)}\n```"
    yield inspect.cleandoc(value.__doc__)
    if isinstance(value, type) and not name.endswith("Config"):
        yield from _members(value)


def _call(name: str, function: Callable[..., Any]) -> str:
    """Return how a function is called; over several lines where one does not hold it."""
    signature = inspect.signature(function)
    line = plain(f"dw.{name}{signature}")
    if len(line) <= WIDTH:
        return line
    parts, kinds = [], [parameter.kind for parameter in signature.parameters.values()]
    for number, parameter in enumerate(signature.parameters.values()):
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.KEYWORD_ONLY not in kinds[:number]:
            parts.append("*")
        parts.append(plain(str(parameter)))
    returned = line.rpartition(" -> ")[2]
    return f"dw.{name}(\n    " + ",\n    ".join(parts) + f",\n) -> {returned}"


def _members(kind: type) -> Iterator[str]:
    lines = []
    if is_dataclass(kind):
        lines += [f"- `.{field.name}`" for field in fields(kind)]
    for name, member in vars(kind).items():
        doc = inspect.getdoc(member.fget if isinstance(member, property) else member)
        if not name.startswith("_") and doc and (inspect.isfunction(member) or isinstance(member, property)):
            call = "" if isinstance(member, property) else re.sub(r"self(, )?", "", str(inspect.signature(member)))
            lines.append(f"- `.{name}{plain(call)}`: {doc.splitlines()[0]}")
    if lines:
        yield "\n".join(lines)


PARTS: dict[str, Callable[[], str]] = {"python_names": python_names}
