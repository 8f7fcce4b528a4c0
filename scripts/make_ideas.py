"""Make the figures and the generated parts of docs/ideas.

    python scripts/make_ideas.py           # write
    python scripts/make_ideas.py --check   # exit 1 when something is out of date

A figure is out of date when the numbers in it or the code that draws it have changed: their hash stands in its
metadata. Its bytes are not compared, as another version of matplotlib writes others.
"""

import contextlib
import hashlib
import inspect
import io
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from ideas import (
    channel_shuffle,
    drawing,
    inception,
    relu_manifold,
    separable_cost,
    separable_steps,
    shortcuts,
    small_kernels,
    squeeze_excite,
)
from make_docs import PART
from matplotlib.figure import Figure

FOLDER = Path(__file__).parents[1] / "docs/ideas"
EXAMPLE = re.compile(r"```python\n(.*?)```", re.DOTALL)
DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


class Idea(NamedTuple):
    """A page and its figure, both called after the module."""

    module: ModuleType
    title: str
    line: str  # for the index, and for those who do not see the figure

    @property
    def name(self) -> str:
        """File name of page and figure, without suffix."""
        return self.module.__name__.removeprefix("ideas.")


IDEAS = (
    Idea(separable_cost, "Depthwise-separable convolution: the cost", "Filter and mix apart: 1/N + 1/D² of the work."),
    Idea(separable_steps, "Depthwise and pointwise, step by step", "Two maps, two kernels, three outputs, by hand."),
    Idea(relu_manifold, "ReLU in few dimensions loses points", "Why MobileNetV2's narrow layers are linear."),
    Idea(small_kernels, "Two 3x3 for one 5x5", "VGG sees as far with fewer weights."),
    Idea(inception, "1x1 reductions", "GoogLeNet narrows the maps before the costly kernels."),
    Idea(shortcuts, "Identity, zero padding, projection", "What carries x around a residual block, and its price."),
    Idea(squeeze_excite, "Squeeze and excite", "A weight for each channel, from the mean of all."),
    Idea(channel_shuffle, "Channel shuffle", "Groups that would never meet, mixed for nothing."),
)


def rounded(value: Any) -> Any:
    """Return numbers as JSON has them, floats to four digits behind the point: what machines agree on."""
    if isinstance(value, torch.Tensor | np.ndarray):
        return rounded(value.tolist())
    if isinstance(value, dict):
        return {str(key): rounded(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(part) for part in value]
    return round(value, 4) + 0.0 if isinstance(value, float) else value  # + 0.0: no minus before a zero


def digest(idea: Idea, numbers: Any) -> str:
    """Return a hash of what the figure shows and of the code that draws it."""
    code = [inspect.getsource(module) for module in (idea.module, drawing)]
    return hashlib.sha256(json.dumps([rounded(numbers), idea.title, *code]).encode()).hexdigest()


def draw(idea: Idea, numbers: Any) -> bytes:
    """Return the figure as SVG."""
    with drawing.in_style():
        figure = Figure()
        idea.module.draw(figure, numbers)
        return drawing.to_svg(figure, idea.title, digest(idea, numbers))


def run_example(page: str) -> str:
    """Run the first Python block of a page; return what it printed, as a block of text."""
    found = EXAMPLE.search(page)
    assert found, "a page has an example"
    printed = io.StringIO()
    torch.manual_seed(0)
    with contextlib.redirect_stdout(printed):
        exec(compile(found[1], "example", "exec"), {})
    return f"```text\n{printed.getvalue().rstrip()}\n```"


def index() -> str:
    """Return the list of ideas with their figures, small."""
    rows = [
        f'| [<img src="{idea.name}.svg" width="240" alt="{idea.title}">]({idea.name}.md) '
        f"| [{idea.title}]({idea.name}.md)<br>{idea.line} |"
        for idea in IDEAS
    ]
    return "\n".join(["| | |", "|---|---|", *rows])


def fill(page: str, parts: dict[str, str]) -> str:
    """Return the page with its generated parts replaced."""
    return PART.sub(lambda match: f"{match[1]}{parts[match[2]]}\n{match[3]}", page)


def is_drawn(path: Path, wanted: str) -> bool:
    """Tell whether the figure is there and carries the hash `wanted`."""
    found = DIGEST.search(path.read_text(encoding="utf-8")) if path.exists() else None
    return found is not None and found[1] == wanted


def update_page(path: Path, parts: dict[str, str], *, is_check: bool) -> list[str]:
    """Write a page anew unless only checked; return its name if it was out of date."""
    old = path.read_text(encoding="utf-8")
    if (new := fill(old, parts)) == old:
        return []
    if not is_check:
        path.write_text(new, encoding="utf-8", newline="\n")
    return [path.name]


def update_idea(idea: Idea, folder: Path, *, is_check: bool) -> list[str]:
    """Write page and figure anew unless only checked; return the names of what was out of date."""
    numbers = idea.module.numbers()
    page, picture = folder / f"{idea.name}.md", folder / f"{idea.name}.svg"
    parts = {"numbers": idea.module.text(numbers), "prints": run_example(page.read_text(encoding="utf-8"))}
    stale = update_page(page, parts, is_check=is_check)
    if is_drawn(picture, digest(idea, numbers)):
        return stale
    if not is_check:
        picture.write_bytes(draw(idea, numbers))
    return [*stale, picture.name]


def main(folder: Path = FOLDER, *, is_check: bool) -> int:
    """Write pages and figures anew, or tell which are out of date; return the exit status."""
    stale = update_page(folder / "README.md", {"index": index()}, is_check=is_check)
    for idea in IDEAS:
        stale += update_idea(idea, folder, is_check=is_check)
    if stale:
        print(f"{'out of date' if is_check else 'written'}: {', '.join(stale)}" + "; run: make format" * is_check)
    return int(is_check and bool(stale))


if __name__ == "__main__":
    sys.exit(main(is_check="--check" in sys.argv[1:]))
