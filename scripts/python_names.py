"""The generated part of docs/python.md: what `import depthwise as dw` offers, from the code's own docstrings."""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from itertools import pairwise
from typing import Any, get_type_hints

import depthwise as dw
from depthwise.data.views import Photo
from depthwise.metrics import Assessment, Scores

WIDTH = 100
PARTS_OF = {"evaluate": (Assessment, Scores)}
"""Classes of parts of what a function returns that people will ask for."""
MODULES = re.compile(r"\b(?!dw\.)(?:\w+\.)+(?=[A-Z]\w*)")
"""Where a type is from; of PyTorch's it stays short."""


def plain(call: str) -> str:
    """Return a call with the bare names of its types."""
    call = call.replace(str(Photo), "Photo").replace(repr(Photo), "Photo")
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
    if (found := _returned(value)) and is_dataclass(found) and found.__name__ not in dw.__all__:
        for kind in (found, *PARTS_OF.get(name, ())):
            yield f"`{kind.__name__}`: {inspect.cleandoc(kind.__doc__ or '')}"
            yield from _members(kind)


def _returned(value: Any) -> type | None:
    """Return the class of what a function returns; None where it is not told by one."""
    if not inspect.isfunction(value):
        return None
    try:
        found = get_type_hints(value).get("return")
    except NameError:  # of a module that is imported for types only
        return None
    return found if isinstance(found, type) else None


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
        said = _said_of_fields(kind)
        lines += [
            f"- `.{field.name}`" + (f": {said[field.name]}" if field.name in said else "") for field in fields(kind)
        ]
    for name, member in vars(kind).items():
        doc = inspect.getdoc(member.fget if isinstance(member, property) else member)
        if not name.startswith("_") and doc and (inspect.isfunction(member) or isinstance(member, property)):
            call = "" if isinstance(member, property) else re.sub(r"self(, )?", "", str(inspect.signature(member)))
            lines.append(f"- `.{name}{plain(call)}`: {doc.splitlines()[0]}")
    if lines:
        yield "\n".join(lines)


def _said_of_fields(kind: type) -> dict[str, str]:
    """Return what stands as a string below each field of a dataclass."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    said: dict[str, str] = {}
    for field, below in pairwise(tree.body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            text = below.value if isinstance(below, ast.Expr) else None
            said |= {field.target.id: " ".join(str(text.value).split())} if isinstance(text, ast.Constant) else {}
    return said


PARTS: dict[str, Callable[[], str]] = {"python_names": python_names}
