"""The way through a block, read from its modules by following its code once."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from depthwise.report.boxes import ZEROS, Box, Kind, Shape, box_of, is_step

Join = Literal["", "sum", "concatenation"]
Skip = Literal["", "identity", "projection", "zero padding", "concatenation"]
JOINS: dict[object, Join] = {operator.add: "sum", torch.cat: "concatenation"}


class Flow(NamedTuple):
    """Boxes one after another, then branches side by side, what joins them, and boxes again."""

    input: Shape
    before: tuple[Box, ...]
    branches: tuple[tuple[Box, ...], ...] = ()  # of a sum, the longest first
    join: Join = ""
    after: tuple[Box, ...] = ()

    @property
    def boxes(self) -> tuple[Box, ...]:
        """All boxes, branch by branch."""
        return (*self.before, *(box for branch in self.branches for box in branch), *self.after)

    @property
    def output(self) -> Shape:
        """The shape that comes out."""
        if self.after or not self.join:
            return self.boxes[-1].shape if self.boxes else self.input
        start = self.before[-1].shape if self.before else self.input
        ends = [branch[-1].shape if branch else start for branch in self.branches]
        is_sum = self.join == "sum"
        return ends[0] if is_sum else (sum(end[0] for end in ends), *ends[0][1:])

    @property
    def skip(self) -> Skip:
        """How the input gets around the branches' layers: '' where it does not."""
        if self.join == "sum":
            shortest = min(self.branches, key=len)
            is_padded = any(box.what == ZEROS for box in shortest)
            return "identity" if not shortest else "zero padding" if is_padded else "projection"
        return "concatenation" if self.join and not all(self.branches) else ""

    @property
    def kind(self) -> Kind:
        """The kind of the whole."""
        kinds = [box.kind for box in self.boxes]
        if "depthwise" in kinds:
            return "depthwise"
        if self.join:
            return "residual" if self.join == "sum" else "concatenating"
        rank: tuple[Kind, ...] = ("convolution", "linear", "pooling")
        return next((kind for kind in rank if kind in kinds), "other")


class _Step(NamedTuple):
    """One operation of a block."""

    sources: tuple[str, ...]  # the operations whose outputs it takes
    box: Box | None  # None: the input, or a join
    join: Join
    parent: str  # path of the module that holds it


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return is_step(m)


def flow_of(block: nn.Module, shape: Shape) -> Flow:
    """Return the way through a block, which is on the meta device, for an input of `shape`: (C, H, W) or (K,).

    A block that forks more than once, or whose code cannot be followed, is told as the sequence of its layers.
    """
    if is_step(block):
        box = box_of(block, tuple(block(torch.empty(1, *shape, device="meta")).shape[1:]))
        return Flow(shape, (box,) if box else ())
    try:
        flow = _arrange(_trace(block, shape), shape)
    except Exception:  # other people's code may do anything under tracing
        flow = None
    return flow or Flow(shape, tuple(_listed(block)))


def _listed(block: nn.Module) -> Iterator[Box]:
    for module in block.modules():
        if is_step(module) and (box := box_of(module, ())) and box.what:
            yield box


def _trace(block: nn.Module, shape: Shape) -> dict[str, _Step]:
    """Return the operations by name in their order, from the input to the output; what does nothing is left out."""
    traced = fx.GraphModule(block, _Tracer().trace(block))
    ShapeProp(traced).propagate(torch.empty(1, *shape, device="meta"))
    steps: dict[str, _Step] = {}
    same: dict[str, str] = {}  # operation -> the last one up to it that does something
    for node in traced.graph.nodes:
        sources = tuple(same[source.name] for source in node.all_input_nodes)
        box, join = _box(node, traced), JOINS.get(node.target, "")
        if node.op == "output":
            break
        if node.op != "placeholder" and not box and not join:
            same[node.name] = sources[0]
            continue
        parent = str(node.target).rpartition(".")[0] if node.op == "call_module" else ""
        steps[node.name] = _Step(sources, box, join, parent)
        same[node.name] = node.name
    return steps


def _box(node: fx.Node, traced: fx.GraphModule) -> Box | None:
    """Return what an operation is to the reader; None for input, output, joins and what does nothing."""
    if node.op == "call_module":
        return box_of(traced.get_submodule(str(node.target)), _shape(node))
    if node.target == "chunk":
        return Box("channel split", ("half to each side",), "other", _shape(node.all_input_nodes[0]))
    if node.target in ("relu", torch.relu):
        return Box("", ("ReLU",), "other", _shape(node))
    if node.op in ("placeholder", "output") or node.target in (operator.getitem, "flatten", *JOINS):
        return None
    return Box(getattr(node.target, "__name__", str(node.target)), (), "other", _shape(node))


def _shape(node: fx.Node) -> Shape:
    return tuple(node.meta["tensor_meta"].shape[1:])


def _arrange(steps: Mapping[str, _Step], shape: Shape) -> Flow | None:
    """Return the operations as boxes before, beside and after each other; None when they fork more than once."""
    start, *names = steps
    joins = [name for name in names if steps[name].join]
    if not joins:
        is_chain = all(len(steps[name].sources) == 1 for name in names)
        return Flow(shape, tuple(_boxes(steps[name] for name in names))) if is_chain else None
    (join,) = joins  # else ValueError: more than a reader can follow
    ways = _ways(steps, join, names)
    fork = _fork(steps, ways, start)
    branches = [way[way.index(fork) + 1 :] if fork in way else way for way in ways]
    if steps[join].join == "sum":
        branches.sort(key=len, reverse=True)
    before = ways[0][1 : ways[0].index(fork) + 1]
    after = names[names.index(join) + 1 :]
    told = [tuple(_boxes(steps[name] for name in part)) for part in (before, *branches, after)]
    return Flow(shape, told[0], tuple(told[1:-1]), steps[join].join, told[-1])


def _ways(steps: Mapping[str, _Step], join: str, names: Sequence[str]) -> list[list[str]]:
    """Return the names from the input to each thing that is joined, the input first."""
    ways = []
    for source in steps[join].sources:
        way = [source]
        while steps[way[0]].sources:
            (before,) = steps[way[0]].sources
            way.insert(0, before)
        ways.append(way)
    return ways


def _fork(steps: Mapping[str, _Step], ways: Sequence[Sequence[str]], start: str) -> str:
    """Return the last operation that is common to all ways."""
    return [name for name in ways[0] if all(name in way for way in ways)][-1]


def _boxes(way: Iterable[_Step]) -> Iterator[Box]:
    """Yield the boxes of a way: notes beside the layer behind which they come, or before which, in one sequence."""
    current: Box | None = None
    parent = ""
    is_full = False  # norm and activation came first: the layer ends the box
    for step in way:
        box = step.box
        assert box is not None
        is_elsewhere = bool(step.parent) and step.parent != parent
        if current is None or is_full or is_elsewhere or (current.what and box.what):
            if current:
                yield current
            current, is_full = box, False
        else:
            is_full = bool(not current.what and box.what)
            if is_full:
                current = box._replace(notes=(f"after {', '.join(current.notes)}", *box.notes))
            else:
                current = current._replace(notes=(*current.notes, *box.notes), shape=box.shape)
        parent = step.parent
    if current:
        yield current
