"""The page of a paper: its idea, its networks, what is not from it, options, weights, how to cite it."""

import contextlib
import inspect
import io
import re
import textwrap
import tomllib
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args, get_origin

import torch

from depthwise.models.registry import ModelSpec, file_of, model_info
from depthwise.models.weights import keras
from depthwise.models.weights.origins import Public, public_sources, public_weights
from depthwise.models.weights.pretrained import PACKAGES
from depthwise.report.zoo import Entry, entries

ROOT = Path(__file__).parents[2]
WORDS = tomllib.loads((ROOT / "scripts/pages/ideas.toml").read_text(encoding="utf-8"))
NOTICE = "<!-- made by scripts/make_pages.py; its words are in scripts/pages/ideas.toml -->"
WIDTH = 120


def members(paper: str) -> list[Entry]:
    """Return the networks of a paper's file."""
    return [entry for entry in entries() if file_of(entry.spec.family) == paper]


def page(paper: str) -> str:
    """Return the page of a paper as Markdown."""
    words, rows = WORDS[paper], members(paper)
    parts = [
        f"# {words['title']}",
        NOTICE,
        *_papers(rows),
        words["idea"].strip(),
        *_shown(words),
        f"![{_alternative(words)}]({paper}.svg)",
        "## Networks",
        _table(rows),
        _sources(rows),
        "## What is followed, and what is not from the paper",
        *deviations(paper),
        "## Options",
        _options(rows),
        "## Small pictures",
        _small(paper),
        "## Example",
        *_example(rows, words),
        "## Weights",
        *_weights(paper, rows),
        "## How to cite",
        *(f"```bibtex\n{entry}\n```" for entry in dict.fromkeys(row.spec.bibtex for row in rows)),
    ]
    return "\n\n".join(parts) + "\n"


def _papers(rows: Sequence[Entry]) -> Iterator[str]:
    for spec in {row.spec.paper: row.spec for row in rows}.values():
        yield textwrap.fill(f"{spec.paper}.{f' <{spec.url}>' if spec.url else ''}", WIDTH, break_on_hyphens=False)


def _shown(words: Any) -> Iterator[str]:
    links = [f"[{_heading(name)}](../ideas/{name}.md)" for name in words["see"]]
    if links:
        yield f"Shown step by step: {', '.join(links)}."


def _heading(name: str) -> str:
    text = (ROOT / f"docs/ideas/{name}.md").read_text(encoding="utf-8")
    return text.partition("\n")[0].removeprefix("# ")


def _alternative(words: Any) -> str:
    """Return what the drawing shows, for those who do not see it."""
    if "network" in words:
        return f"{words['network']}, layer by layer"
    return "Blocks: " + "; ".join(caption for caption, *_ in words["blocks"])


def _table(rows: Sequence[Entry]) -> str:
    lines = [
        "| name | px | parameters | multiply-adds | paper's top-1 | best public top-1 |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for spec, public in rows:
        also = "".join(f", `{alias}`" for alias in spec.aliases)
        best = f"{public.top1:.1f} % (`{public.origin}`, {_side(public)} px)" if public else "-"
        cells = f"{spec.image_size} | {spec.params:,} | {spec.macs:,} | {_papers_top1(spec)} | {best}"
        lines.append(f"| `{spec.name}`{also} | {cells} |")
    return "\n".join(lines)


def _papers_top1(spec: ModelSpec) -> str:
    if spec.top1 is None:
        return "-"
    where = re.split(r";(?![^\[(]*[\])])", spec.top1_source)[0]  # the first source; brackets may hold semicolons
    if spec.top1_protocol.partition(" ")[0] not in where:
        where += f", {spec.top1_protocol}"
    return f"{spec.top1:.1f} % ({where})"


def _side(public: Public) -> str:
    return str(public.preprocessing.image_size or "")


def _sources(rows: Sequence[Entry]) -> str:
    """Return for what the counts are, and who says so."""
    kinds = dict.fromkeys((row.spec.num_classes, row.spec.in_channels) for row in rows)
    made = " or ".join(f"{classes} classes and {channels} channel{'s' * (channels > 1)}" for classes, channels in kinds)
    said = f"Counts, for {made}: "
    said += "; ".join(dict.fromkeys(part for row in rows for part in row.spec.witness.split("; "))) + "."
    libraries = dict.fromkeys(row.library for row in rows if row.library)
    if libraries:
        said += f" Public weights: {'; '.join(public_sources()[library] for library in libraries)}."
    return textwrap.fill(said, WIDTH)


def _paragraphs(paper: str) -> list[str]:
    """Return the docstring of a paper's file in paragraphs of one line; its two set phrases start their own."""
    text = re.sub(r"\n(Not from the paper|`small_input`)", r"\n\n\1", inspect.getdoc(_module(paper)) or "")
    return [" ".join(part.split()) for part in text.split("\n\n")]


def _module(paper: str) -> ModuleType:
    return import_module(f"depthwise.models.{paper}")


def deviations(paper: str) -> Iterator[str]:
    """Yield what the paper's file says of what it follows and of what is not from the paper."""
    _, *parts = _paragraphs(paper)
    for part in parts:
        if not part.startswith("`small_input`"):
            yield textwrap.fill(part, WIDTH, break_on_hyphens=False).replace(
                "Not from the paper", "**Not from the paper**"
            )
    yield f"So says the top of [the file](../../src/depthwise/models/{paper}.py)."


def _small(paper: str) -> str:
    (rule,) = (part for part in _paragraphs(paper) if part.startswith("`small_input`"))
    return textwrap.fill(rule, WIDTH)


def _options(rows: Sequence[Entry]) -> str:
    """Return the constructor's options, each with its defaults."""
    lines = ["| option | takes | default | what it is |", "|---|---|---|---|"]
    defaults: dict[str, dict[str, None]] = {}
    kinds: dict[str, str] = {}
    for row in rows:
        for name, parameter in row.spec.allowed_options.items():
            kinds[name] = _kind(parameter.annotation)
            defaults.setdefault(name, {})[f"`{parameter.default}`"] = None
    for name, kind in kinds.items():
        lines.append(f"| `{name}` | {kind} | {_default(list(defaults[name]))} | {WORDS['options'][name]} |")
    return "\n".join(lines)


def _default(values: Sequence[str]) -> str:
    if len(values) == 1:
        return values[0]
    return "by name" if len(values) > 3 else f"{', '.join(values)} by name"


def _kind(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(annotation))
    kinds = {bool: "true or false", int: "a whole number", float: "a number", Sequence[int]: "whole numbers"}
    return kinds.get(annotation, "a list, or nothing")


def example(rows: Sequence[Entry], words: Any) -> str:
    """Return lines that build a network of the paper, look inside, and give it another classifier."""
    aliases = [alias for row in rows for alias in row.spec.aliases]
    name = words.get("example_of") or words.get("network") or [*aliases, rows[0].spec.name][0]
    spec = model_info(name)
    return "\n".join(
        [
            "import torch",
            "import depthwise as dw",
            "",
            f'model = dw.create_model("{name}", {words["example"]})',
            f"images = torch.rand(2, {spec.in_channels}, {spec.image_size}, {spec.image_size})",
            "for name, stride, features in model.features(images):",
            "    print(name, stride, tuple(features.shape))",
            "model.reset_classifier(5)",
            "print(tuple(model(images).shape))",
            "",
        ]
    )


def printed(code: str) -> str:
    """Return what an example prints, run on the meta device, where shapes are right and nothing is computed."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), torch.device("meta"):
        exec(code, {})
    return output.getvalue()


def _example(rows: Sequence[Entry], words: Any) -> Iterator[str]:
    code = example(rows, words)
    yield f"```python\n{code}```"
    yield f"```text\n{printed(code)}```"


def _weights(paper: str, rows: Sequence[Entry]) -> Iterator[str]:
    """Yield how weights are loaded, and which there are."""
    names = [row.spec.name for row in rows]
    known = [row for row in public_weights() if row.network in names]
    if calls := list(_calls(paper, known, names)):
        yield "```python\n" + "\n".join(["import depthwise as dw", "", *calls]) + "\n```"
    else:
        yield "Nobody publishes weights that fit these networks, as far as we know."
    if known:
        lines = [
            f"| `{r.network}` | `{r.origin}` | {_side(r)} | {f'{r.top1:.1f} %' if r.top1 else '-'} |" for r in known
        ]
        yield "\n".join(["| for | origin | px | top-1 |", "|---|---|---:|---:|", *lines])
    yield "What an origin sets, and files of your own: [weights](../weights.md)."


def _calls(paper: str, known: Sequence[Public], names: Sequence[str]) -> Iterator[str]:
    """Yield a line of code for each way to weights."""
    for name in (name for name in PACKAGES if name in names):
        yield f'model = dw.create_model("{name}", pretrained="package")  # installed with pip'
    for library in dict.fromkeys(row.origin.partition(":")[0] for row in known):
        first = next(row for row in known if row.origin.startswith(library))
        yield f'model = dw.create_model("{first.network}", pretrained="{library}")  # fetched once'
    if known:
        network, origin = known[-1].network, known[-1].origin.removesuffix(":IMAGENET1K_V1")
        yield from _loads(network, "weights.pth", origin)
    if paper in keras.NAMES:
        yield from _loads(WORDS[paper]["keras"], "weights.h5", "keras")


def _loads(network: str, path: str, origin: str) -> Iterator[str]:
    yield f'model = dw.create_model("{network}")'
    yield f'dw.load_weights(model, "{path}", origin="{origin}")'
