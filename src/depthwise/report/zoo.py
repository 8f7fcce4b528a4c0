"""The zoo as a table and as JSON: what the papers give, and what the best public weights do."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, Literal, NamedTuple

from depthwise.models.registry import ModelSpec, list_models, model_info
from depthwise.models.weights.origins import Public, best_top1, public_sources
from depthwise.report.tables import table

Order = Literal["params", "macs", "year", "top1"]
WIDTH = 118


class Entry(NamedTuple):
    """A network and its most accurate public weights, if there are any."""

    spec: ModelSpec
    public: Public | None

    @property
    def library(self) -> str:
        """Who gives the weights: torchvision or timm; '' where there are none."""
        return self.public.origin.partition(":")[0] if self.public else ""


_VALUES: dict[Order, Callable[[Entry], float]] = {
    "params": lambda entry: entry.spec.params,
    "macs": lambda entry: entry.spec.macs,
    "year": lambda entry: entry.spec.year,
    "top1": lambda entry: -(entry.public.top1 or 0) if entry.public else 0,
}


def entries(pattern: str = "*", order: Order | None = None) -> list[Entry]:
    """Return the networks that match `pattern`: in the papers' order, or by `order`.

    Parameters, multiply-adds and years rise; top1, of the best public weights, falls; those without come last.
    """
    found = [Entry(spec, best_top1(spec.name)) for spec in map(model_info, list_models(pattern))]
    return found if order is None else sorted(found, key=_VALUES[order])


def to_json(entry: Entry) -> dict[str, Any]:
    """Return the record of a network and its public weights as JSON takes it; `top1` and `paper_top1` are the same."""
    spec, public = entry
    row = {f.name: getattr(spec, f.name) for f in fields(spec) if f.name not in ("builder", "options")}
    return row | {
        "options": dict(spec.options),
        "paper_top1": spec.top1,
        "best_public_top1": public.top1 if public else None,
        "best_public_origin": public.origin if public else None,
        "best_public_image_size": public.preprocessing.image_size if public else None,
        "best_public_source": public_sources()[entry.library] if public else None,
        "bibtex": spec.bibtex,
    }


def zoo_table(rows: Sequence[Entry]) -> str:
    """Return a line per network and where the accuracies are from."""
    head = ("name", "family", "year", "px", "parameters", "multiply-adds", "paper %", "best %", "px", "weights of")
    return "\n".join([table(head, [_cells(row) for row in rows], left=2), "", *_notes(rows)])


def _cells(entry: Entry) -> tuple[str, ...]:
    spec, public = entry
    best = (f"{public.top1:.1f}", str(public.preprocessing.image_size)) if public else ("-", "")
    mark = "*" if spec.top1_protocol else " "
    return (
        spec.name,
        spec.family,
        str(spec.year),
        str(spec.image_size),
        f"{spec.params:,}",
        f"{spec.macs:,}",
        "- " if spec.top1 is None else f"{spec.top1:.1f}{mark}",
        *best,
        entry.library,
    )


def _notes(rows: Sequence[Entry]) -> list[str]:
    """Return what the table's columns mean and who says so."""
    notes = ["paper %: ImageNet top-1 as the paper or its authors' release gives it."]
    if protocols := sorted({row.spec.top1_protocol for row in rows} - {""}):
        notes[0] += f" * not from one crop of the centre: {', '.join(protocols)}."
    libraries = dict.fromkeys(row.library for row in rows if row.public)
    if sources := "; ".join(public_sources()[library] for library in libraries):
        about = (
            "the most accurate public weights, with pictures of the px beside it, some trained on more than ImageNet"
        )
        notes.append(f"best %: {about}. Sources: {sources}.")
    aliases = [f"{alias} is {row.spec.name}" for row in rows for alias in row.spec.aliases]
    if aliases:
        notes.append(f"Short names: {', '.join(aliases)}.")
    return [textwrap.fill(note, WIDTH) for note in notes]
