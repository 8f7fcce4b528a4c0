"""The zoo's one table: a frozen record per network, filled by the family files when they are imported."""

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from importlib import import_module
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from torch import nn

from depthwise.errors import UserError, suggest
from depthwise.models.bibtex import bibtex_of

PAPERS = (
    "lenet5",
    "alexnet",
    "nin",
    "alexnet_owt",
    "vgg",
    "googlenet",
    "resnet",
    "densenet",
    "senet",
    "shufflenet_v1",
    "mobilenet_v1",
    "mobilenet_v2",
    "shufflenet_v2",
    "mobilenet_v3",
    "efficientnet",
)
"""The files beside this one, one per paper, in the order of their years."""
COMMON = ("num_classes", "in_channels", "small_input")  # what create_model itself takes


@dataclass(frozen=True)
class ModelSpec:
    """What is known of one network before it is built."""

    name: str
    """Registry name, e.g. mobilenet_v2_x1_0."""
    family: str
    """Name of the paper's file in depthwise.models."""
    paper: str
    """Authors, title, venue and year."""
    url: str
    """Address of the paper, or '' where it has none that lasts."""
    year: int
    image_size: int
    """The paper's input side in pixels; params and macs are counted there."""
    in_channels: int
    num_classes: int
    params: int
    """Trainable parameters, for num_classes and in_channels; 0 for networks from elsewhere: nobody recorded them."""
    macs: int
    """Multiply-accumulates of convolutions and linear layers for one picture of image_size; 0 likewise."""
    top1: float | None
    """ImageNet top-1 accuracy in percent as the paper or its authors' release gives it, or None."""
    witness: str
    """Who else computed params and macs."""
    is_fixed_size: bool
    """True where only image_size works as input."""
    top1_source: str = ""
    """Where the paper gives top1, e.g. Table 6."""
    top1_protocol: str = ""
    """How top1 was measured, e.g. 10-crop; '' for one crop of the centre."""
    aliases: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    """What this name sets of its family's options."""
    builder: Callable[..., nn.Module] = field(default=nn.Identity, repr=False)

    @property
    def takes_small_input(self) -> bool:
        """Whether the constructor has an option for pictures of 32 px and less; all but networks from elsewhere."""
        return "small_input" in inspect.signature(self.builder).parameters

    @property
    def bibtex(self) -> str:
        """How to cite the paper; '' for networks from elsewhere."""
        citation = facts()["citations"].get(_cited(self.family))
        return bibtex_of(citation) if citation else ""

    @property
    def allowed_options(self) -> dict[str, inspect.Parameter]:
        """The constructor's keyword parameters that create_model does not take itself, with this network's defaults."""
        parameters = inspect.signature(self.builder).parameters.values()
        own = [p for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in COMMON]
        return {p.name: p.replace(default=self.options.get(p.name, p.default)) for p in own}


_SPECS: dict[str, ModelSpec] = {}
_ALIASES: dict[str, str] = {}


@cache
def facts() -> Any:
    """Return the recorded counts and errors with their sources (facts.json)."""
    return json.loads(files("depthwise.models").joinpath("facts.json").read_text(encoding="utf-8"))


def register(
    name: str,
    builder: Callable[..., nn.Module],
    *,
    family: str,
    image_size: int,
    fact: str,
    in_channels: int = 3,
    num_classes: int = 1000,
    is_fixed_size: bool = False,
    options: Mapping[str, Any] = MappingProxyType({}),
    aliases: tuple[str, ...] = (),
) -> None:
    """Enter one network; `fact` is its variant in facts.json. Raise ValueError when a name is taken or has no facts."""
    for taken in (name, *aliases):
        if taken in _SPECS or taken in _ALIASES:
            raise ValueError(f"the model name {taken!r} is registered twice")
    found, citation = _find_fact(family, fact), facts()["citations"][_cited(family)]
    _SPECS[name] = ModelSpec(
        name=name,
        family=family,
        paper=f"{citation['authors']}: {citation['title']}. {_with_year(citation['venue'], citation['year'])}",
        url=f"https://arxiv.org/abs/{citation['arxiv']}" if citation["arxiv"] else "",
        year=citation["year"],
        image_size=image_size,
        in_channels=in_channels,
        num_classes=num_classes,
        params=found["params"],
        macs=found["macs"],
        **_accuracy(found["paper"]),
        witness=_spell_out(found["macs_source"]),
        is_fixed_size=is_fixed_size,
        aliases=aliases,
        options=MappingProxyType(dict(options)),
        builder=builder,
    )
    _ALIASES.update(dict.fromkeys(aliases, name))


def _cited(family: str) -> str:
    """Return the key of the family's citation: the CIFAR networks are in the same paper."""
    return family.removesuffix("_cifar")


def _accuracy(paper: Mapping[str, Any]) -> dict[str, Any]:
    """Return top1 and where it stands; None for numbers that are from memory or of somebody else's training."""
    where, error = paper.get("where", ""), paper.get("top1_err")
    if error is None or where.startswith("not in") or not paper["status"].startswith("verified"):
        return {"top1": None}
    protocol = paper.get("protocol", "")
    return {
        "top1": round(100 - error, 2),
        "top1_source": where,
        "top1_protocol": "" if protocol.startswith("1-crop") else protocol,
    }


def _with_year(venue: str, year: int) -> str:
    return venue if venue[-4:].isdigit() else f"{venue}, {year}"


def _find_fact(family: str, variant: str) -> Any:
    for fact in facts()["models"]:
        if (fact["family"], fact["variant"]) == (family, variant):
            return fact
    raise ValueError(f"facts.json has no record of {variant!r} in the family {family!r}")


def _spell_out(keys: str) -> str:
    """Spell out 'C-REF = C-KERAS' by the list of sources in facts.json."""
    return "; ".join(facts()["sources"].get(key.split("(")[0], key) for key in keys.split(" = "))


@cache
def _load_families() -> None:
    for paper in PAPERS:
        import_module(f"depthwise.models.{paper}")
    in_order = sorted(_SPECS.items(), key=lambda item: PAPERS.index(file_of(item[1].family)))
    _SPECS.clear()  # somebody may have imported a later paper's file first
    _SPECS.update(in_order)


def file_of(family: str) -> str:
    """Return the paper's file of a family: efficientnet for efficientnet_lite."""
    return max((paper for paper in PAPERS if family.startswith(paper)), key=len)


def list_models(pattern: str = "*") -> list[str]:
    """Return the names that match `pattern` (shell style) by name or alias, in the papers' order."""
    _load_families()
    return [spec.name for spec in _SPECS.values() if any(fnmatchcase(n, pattern) for n in (spec.name, *spec.aliases))]


def model_info(name: str) -> ModelSpec:
    """Return the record of the name or alias `name`. Raise UserError with suggestions if there is none.

    `timm:NAME` and `package.module:factory` are networks from elsewhere (see `foreign`).
    """
    if ":" in name:
        from depthwise.models.foreign import foreign_spec

        return foreign_spec(name)
    _load_families()
    key = _ALIASES.get(name, name)
    if key not in _SPECS:
        near = suggest(name, [*_SPECS, *_ALIASES])
        raise UserError(f"there is no model called {name!r}{near}\nAll names: depthwise models")
    return _SPECS[key]
